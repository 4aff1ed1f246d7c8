"""`deploy.sh flash`: a card that starts as Cuelens.

A `Failure` has deploy.sh's exit code: 100 no image, 101 one that is cut short or damaged, 102 its checksum, 103 another
system, 104 a release that is not served, 105 a 32-bit one, 106 an image that has no room or cannot do what is asked,
107 the disk or file to write, 108 other bytes read back, 109 a missing tool or file.
"""
