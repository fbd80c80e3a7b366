"""``python -m hosts``."""

from hosts.cli import main

main()
