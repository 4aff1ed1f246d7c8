"""Where cues go: one file each; the table has their names."""
