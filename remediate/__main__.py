"""``python -m remediate``: the pairs of statements and remedies, and the remedying of some of them."""

import sys

from cli.remediate import main

sys.exit(main())
