"""What the results page shows of the reports of each kind; kinds.py lists them."""
