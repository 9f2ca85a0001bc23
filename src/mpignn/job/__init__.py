"""A job from its start to its end: ranks and roles, run folder, opened graphs, and what its servers and trainers do."""
