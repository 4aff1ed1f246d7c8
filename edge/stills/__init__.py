"""Pictures that are no frames of a film: their faces found, read and drawn."""
