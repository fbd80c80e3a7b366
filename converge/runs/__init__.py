"""A run, its way back, and its end."""
