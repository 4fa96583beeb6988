"""``python -m scripts.metrics``: see `evaluate_files`."""

import sys

from scripts.metrics.evaluate_files import main

sys.exit(main())
