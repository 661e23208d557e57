"""The steps that flows call; they know the registry, and nothing of flows or schedules."""
