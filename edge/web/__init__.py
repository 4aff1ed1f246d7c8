"""The page of the `web` sink: its server, its rules of access, its words, and the files that a browser gets."""
