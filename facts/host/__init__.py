"""Readings of a host."""
