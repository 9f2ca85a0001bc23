"""Neighbors drawn for mini-batches."""
