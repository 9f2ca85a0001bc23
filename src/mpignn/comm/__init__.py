"""The contract of moving rows between ranks and of acting together, and its version for one process."""
