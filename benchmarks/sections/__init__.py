"""What the results page says of the reports of each kind; kinds.py lists them."""
