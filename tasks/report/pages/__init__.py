"""The page itself: facts laid out as HTML that loads nothing."""
