"""Readings of the account's units."""
