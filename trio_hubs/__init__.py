"""SignalR for trio: a hub server and a hub client that speak ASP.NET Core SignalR's wire protocol."""

from .calls.channels import ChannelReader, ChannelWriter, open_channel
from .client.hub_connection import HubConnection, open_hub_connection
from .client.options import HubConnectionOptions
from .connections.http import Request, Response
from .errors import (
    BindingError,
    ChannelClosed,
    ConnectionClosed,
    HandshakeError,
    HubException,
    HubsError,
    NegotiationError,
    ProtocolError,
    StreamOverflow,
    UploadBroken,
)
from .server.app import HubApp
from .server.clients import AllProxy, CallerProxy, HubCallerClients
from .server.hub import Hub, HubCallerContext, hub_method
from .server.options import HubOptions

__all__ = [
    "AllProxy",
    "BindingError",
    "CallerProxy",
    "ChannelClosed",
    "ChannelReader",
    "ChannelWriter",
    "ConnectionClosed",
    "HandshakeError",
    "Hub",
    "HubApp",
    "HubCallerClients",
    "HubCallerContext",
    "HubConnection",
    "HubConnectionOptions",
    "HubException",
    "HubOptions",
    "HubsError",
    "NegotiationError",
    "ProtocolError",
    "Request",
    "Response",
    "StreamOverflow",
    "UploadBroken",
    "hub_method",
    "open_channel",
    "open_hub_connection",
]
