"""Glasses that are reached over Bluetooth: the policy, the link's thread, and a file for each make."""
