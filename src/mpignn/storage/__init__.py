"""Graphs on disk: HDF5 partitions and the sources they are made from."""
