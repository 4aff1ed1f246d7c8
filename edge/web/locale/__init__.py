"""The page's own words, a file a language; what a cue is called is in edge/words.py."""
