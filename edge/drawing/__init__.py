"""Pictures of a cue: glyphs, letters and the strokes that they are drawn of; for displays, the page and drawings."""
