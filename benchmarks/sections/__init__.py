"""What the results page shows of the reports of each kind; tasks.py lists them."""
