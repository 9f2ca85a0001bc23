"""The contract of moving rows between ranks, and its version for one process."""
