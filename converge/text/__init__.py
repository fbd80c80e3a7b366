"""Text for people: masked, made harmless, and times in words."""
