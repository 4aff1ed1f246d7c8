"""The commands of `cuelens`, a file each: what each adds to the parser, and what it does."""
