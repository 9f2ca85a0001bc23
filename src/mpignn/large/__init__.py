"""Arrays and edges that do not fit memory: files for them, and what is made of them some rows at a time."""
