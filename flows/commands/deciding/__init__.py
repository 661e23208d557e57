"""Commands by which people decide on a version."""
