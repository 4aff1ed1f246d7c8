"""Measurements of the device's own loop, and of what others offer beside it."""
