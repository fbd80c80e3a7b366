"""``python -m converge``."""

import sys

from cli.runs import main

sys.exit(main())
