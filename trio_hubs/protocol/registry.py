"""The hub protocols there are, by the names that the handshake has for them."""

from collections.abc import Mapping
from types import MappingProxyType

from .hub_protocol import HubProtocol
from .json_protocol import JsonHubProtocol
from .messagepack_protocol import MessagePackHubProtocol

PROTOCOLS: Mapping[str, type[HubProtocol]] = MappingProxyType(
    {protocol.name: protocol for protocol in (JsonHubProtocol, MessagePackHubProtocol)}
)
"""By lower-case name, the server's favourite first."""
