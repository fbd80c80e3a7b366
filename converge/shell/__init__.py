"""The shell functions that every step is sent with."""
