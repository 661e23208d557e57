"""A partition too big for one process, cut, scored and put together."""
