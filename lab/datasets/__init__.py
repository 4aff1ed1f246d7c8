"""Labelled pictures: FER2013's table, FER+, folders; read.py reads whatever a user has."""
