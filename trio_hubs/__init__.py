"""SignalR for trio: a hub server and a hub client that speak ASP.NET Core SignalR's wire protocol."""

from .calls.channels import ChannelReader, ChannelWriter, open_channel
from .calls.methods import Deadline, time_left
from .calls.names import hub_method
from .calls.observer import ObservedCall, ObservedConnection, Observer, Outcome
from .calls.policies import Conflate, DropOldest, ReaderPolicy, Wait
from .client.hub_connection import HubConnection
from .client.link import HubLink
from .client.opening import open_hub_connection
from .client.options import HubConnectionOptions
from .client.reconnect import Backoff, ReconnectPolicy
from .client.resumed_stream import StreamGap
from .client.state import HubConnectionState, StateChange
from .connections.client.opening import open_connection
from .connections.client.options import ConnectionOptions
from .connections.client.tokens import AccessToken, TokenReason
from .connections.connection import Connection
from .connections.http import Request, Response
from .connections.server.files import FileResponse
from .connections.server.options import EndpointOptions
from .connections.server.proxies import TrustedProxies
from .connections.server.streamed import StreamedResponse
from .connections.users import Authenticate, Policy, User, authorize
from .errors import (
    BackplaneError,
    BadRequest,
    BindingError,
    ChannelClosed,
    ConnectionClosed,
    ConnectionFailed,
    HandshakeError,
    HubException,
    HubsError,
    NegotiationError,
    ProtocolError,
    StreamBroken,
    StreamOverflow,
    UploadBroken,
)
from .protocol.hub_protocol import TransferFormat
from .protocol.naming import Naming
from .protocol.negotiate import Transport
from .server.app import HubApp, Lifespan
from .server.clients import CallerProxy, ClientProxy, Groups, HubCallerClients, HubClients
from .server.filters import HubFilter, HubInvocationContext, HubLifetimeContext
from .server.hub import Hub, HubCallerContext
from .server.hub_context import HubContext
from .server.options import HubOptions
from .server.roster import ClientInfo
from .server.slow_clients import Disconnect, SlowClientPolicy
from .server.statistics import Statistics

__all__ = [
    "AccessToken",
    "Authenticate",
    "Backoff",
    "BackplaneError",
    "BadRequest",
    "BindingError",
    "CallerProxy",
    "ChannelClosed",
    "ChannelReader",
    "ChannelWriter",
    "ClientInfo",
    "ClientProxy",
    "Conflate",
    "Connection",
    "ConnectionClosed",
    "ConnectionFailed",
    "ConnectionOptions",
    "Deadline",
    "Disconnect",
    "DropOldest",
    "EndpointOptions",
    "FileResponse",
    "Groups",
    "HandshakeError",
    "Hub",
    "HubApp",
    "HubCallerClients",
    "HubCallerContext",
    "HubClients",
    "HubConnection",
    "HubConnectionOptions",
    "HubConnectionState",
    "HubContext",
    "HubException",
    "HubFilter",
    "HubInvocationContext",
    "HubLifetimeContext",
    "HubLink",
    "HubOptions",
    "HubsError",
    "Lifespan",
    "Naming",
    "NegotiationError",
    "ObservedCall",
    "ObservedConnection",
    "Observer",
    "Outcome",
    "Policy",
    "ProtocolError",
    "ReaderPolicy",
    "ReconnectPolicy",
    "Request",
    "Response",
    "SlowClientPolicy",
    "StateChange",
    "Statistics",
    "StreamBroken",
    "StreamGap",
    "StreamOverflow",
    "StreamedResponse",
    "TokenReason",
    "TransferFormat",
    "Transport",
    "TrustedProxies",
    "UploadBroken",
    "User",
    "Wait",
    "authorize",
    "hub_method",
    "open_channel",
    "open_connection",
    "open_hub_connection",
    "time_left",
]
