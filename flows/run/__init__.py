"""What a run of a flow takes along: its home, events, pace, artifacts, and who is told of it."""
