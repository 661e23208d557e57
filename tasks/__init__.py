"""The steps that flows call; they know the registry, and nothing of flows or schedules."""

if __name__ != "pilotline.tasks":
    raise ImportError(f"{__name__!r} is pilotline.tasks; a second name would load it twice.")
