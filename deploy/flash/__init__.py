"""`deploy.sh flash`: a card that starts as Cuelens."""
