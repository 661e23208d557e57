"""Commands about this machine and its factory."""
