"""``python -m hosts``."""

import sys

from cli.hosts import main

sys.exit(main())
