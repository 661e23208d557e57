"""A model's notebook, executed on what was just trained, as one page."""
