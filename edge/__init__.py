"""The device: a camera frame goes in, one steady cue comes out. Imports nothing of the host."""
