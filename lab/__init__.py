"""What training, conversion and benchmarks stand on: labelled pictures, networks in files, scores, reports.

training -> converter -> lab, and benchmarks -> lab; nothing of an upper room is imported by a lower one.
"""
