"""Glasses that are reached over Bluetooth: the policy, the link's thread, and a file for each make."""

from __future__ import annotations

MAKE_NAMES = ("activelook", "halo")  # edge/sinks/glasses/NAME.py has the make, as NAME
