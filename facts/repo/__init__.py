"""Readings of the repository."""
