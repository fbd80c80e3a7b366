"""The only code that changes a host."""
