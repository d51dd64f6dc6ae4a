"""``python -m trio_hubs.cli`` is ``trio-hubs``, where the scripts of this Python are not on the path."""

import sys

from . import main

sys.exit(main())
