"""A worker's process, which its supervisor starts."""

import sys

import msgspec

from .worker import Orders, main

sys.exit(main(msgspec.json.decode(sys.argv[1], type=Orders)))
