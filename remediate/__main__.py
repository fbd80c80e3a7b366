"""``python -m remediate``: the pairs of statements and remedies, and the remedying of some of them."""

import sys

from remediate.cli import main

sys.exit(main())
