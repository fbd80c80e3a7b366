"""The commands of ``./hkn``: they parse, call and print."""
