"""Neighbours drawn for mini-batches."""
