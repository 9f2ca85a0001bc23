"""Loops at the speed of C: numba functions, arrays in and arrays out, the GIL released."""
