"""What came out of runs, for people: read from their folders, counted together, told on one page or as JSON."""
