"""Remedies: a module for each concern, with the same name as its statements' file."""
