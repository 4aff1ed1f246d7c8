"""A frame in, an Update out: the pipeline, and what it sees with."""
