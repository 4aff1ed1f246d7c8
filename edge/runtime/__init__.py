"""A run: frames taken, its states, sinks with a thread each, and what is counted of it."""
