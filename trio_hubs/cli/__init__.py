"""The command ``trio-hubs``: thin, for the package does the work.

It needs the extra ``cli``, and says so where that is missing.
"""

from __future__ import annotations

import sys

from .output import prepare


def main() -> int:
    """Run the command line of this process.

    Returns:
        The exit status.
    """
    try:
        prepare()
        from .commands import run_command  # noqa: PLC0415  # what it stands on may be missing
    except ModuleNotFoundError as error:
        if error.name not in ("cyclopts", "rich"):
            raise
        print("trio-hubs: the command needs more packages: pip install 'trio-hubs[cli]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return run_command(sys.argv[1:])
