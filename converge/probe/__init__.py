"""Asking the site while a run acts, and what that cost."""
