"""The desired end state: statements only, a file for each concern."""
