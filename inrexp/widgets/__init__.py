"""Sliders and buttons for notebooks."""
