"""The Prefect flows, one a file, and the command line."""

if __name__ != "pilotline.flows":
    raise ImportError(f"{__name__!r} is pilotline.flows; a second name would load it twice.")
