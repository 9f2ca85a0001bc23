"""Graphs that lie in tables: CSV, Parquet and others, with the users' own ids."""
