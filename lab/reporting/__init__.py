"""Reports for people: plots and pages that need no network."""
