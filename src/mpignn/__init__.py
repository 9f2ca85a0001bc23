"""Distributed mini-batch training of graph neural networks on MPI."""
