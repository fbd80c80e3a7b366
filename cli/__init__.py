"""The commands of ``./hkn``, one file each: they parse, call and print."""
