"""``python -m scripts.metrics``: see `evaluate_files`."""

import sys

from .evaluate_files import main

sys.exit(main())
