"""The only place where MPI is called."""
