"""A worker's process, which its supervisor starts."""

import os
import sys

import msgspec

from .worker import Orders, main

with os.fdopen(int(sys.argv[1]), "rb") as file:
    orders = msgspec.json.decode(file.read(), type=Orders)
sys.exit(main(orders))
