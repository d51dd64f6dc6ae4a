"""``python -m trio_hubs`` is ``trio-hubs``, where the scripts of this Python are not on the path."""

import sys

from .cli import main

sys.exit(main())
