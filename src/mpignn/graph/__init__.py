"""Who holds what: types, structure, partition book and blocks as plain arrays."""
