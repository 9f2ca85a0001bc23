"""A graph spread over ranks: what is where, and how to read it."""
