"""Hubs tested without sockets, in virtual time: an app and its clients over memory, or a hub's methods alone."""

from ..server.address import Address
from .app import open_test_app, open_test_client, open_test_http
from .hub import Aborted, ClientAnswer, Invoked, Joined, Left, Recorded, Sent, make_hub, recorded
from .network import Network

__all__ = [
    "Aborted",
    "Address",
    "ClientAnswer",
    "Invoked",
    "Joined",
    "Left",
    "Network",
    "Recorded",
    "Sent",
    "make_hub",
    "open_test_app",
    "open_test_client",
    "open_test_http",
    "recorded",
]
