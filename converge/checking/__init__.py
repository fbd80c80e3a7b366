"""Statements, how they are judged, and the record of a session."""
