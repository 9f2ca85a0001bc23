"""Who shall own what: assignment of nodes to partitions, renumbering, quality."""
