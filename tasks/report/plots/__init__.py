"""Plots as inline SVG: no script, light and dark."""
