"""Tasks: what is predicted of nodes, edges and links, by which loss, and how it is judged."""
