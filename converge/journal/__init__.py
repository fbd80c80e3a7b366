"""What was done on a target, by whom, and who is at work."""
