"""`cuelens check`: a file for each part of the device; examine.py has them all."""
