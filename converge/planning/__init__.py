"""What a run will do, in which order."""
