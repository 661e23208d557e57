"""The database: its tables' base, sessions that read and write, its troubles in words."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
