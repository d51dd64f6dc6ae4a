"""What trusted proxies say of a request: who made it, by which scheme, and by which name.

Only what a trusted proxy has written is believed. Each proxy writes behind what came to it, so entries are read from
the right: as long as the hop that one names is trusted itself, the next one to the left is its word. Where an entry is
no address, what was known before it holds.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import zip_longest
from typing import NamedTuple

import attrs

from ...logs import get_logger
from ..http import Request

logger = get_logger(__name__)

MAXIMUM_HOPS = 32
"""How many entries of a header are read; those to the left of them are not."""

_UNIX = "unix"
_SCHEMES = {"http": "http", "ws": "http", "https": "https", "wss": "https"}
_HOST = re.compile(r"([\w.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.IGNORECASE | re.ASCII)


class _Hop(NamedTuple):
    """What a proxy says of who asked it: the address, the scheme, and the name by which it was called."""

    client: str = ""
    scheme: str = ""
    host: str = ""


class TrustedProxies:
    """The proxies whose word is believed, and what they write.

    Args:
        addresses: Their addresses or networks, such as ``10.0.0.0/8`` or ``::1``; ``unix`` is whoever comes over a
            Unix socket. ``0.0.0.0/0`` believes everybody, who can then be anybody.
        forwarded: Whether they write ``Forwarded`` (RFC 7239), rather than ``X-Forwarded-For`` and
            ``X-Forwarded-Proto``. The other kind is not read, for whoever asks them could have written it.
        host: Whether to believe them the name, too: ``host`` of ``Forwarded``, or ``X-Forwarded-Host``. They must
            not pass on what they are sent as that.

    Raises:
        ValueError: There is none, or one is no address.

    Example:
        ::

            app = HubApp(trusted_proxies=TrustedProxies("10.0.0.0/8"))
    """

    def __init__(self, *addresses: str, forwarded: bool = False, host: bool = False) -> None:
        if not addresses:
            raise ValueError("name the addresses or networks of the proxies")
        self._unix = _UNIX in addresses
        self._networks = [ip_network(address) for address in addresses if address != _UNIX]
        self._hops = _hops_of_forwarded if forwarded else _hops_of_x_forwarded
        self._host = host

    def look_through(self, request: Request) -> Request:
        """A request as it was before the trusted proxies through which it came."""
        if not self._trusts(request.client):
            return request
        client, scheme, host = request.client, "", ""
        for hop in self._hops(request)[:MAXIMUM_HOPS]:
            scheme, host = hop.scheme or scheme, hop.host or host
            named = _address(hop.client)
            if named is None:
                if hop.client:
                    logger.info("a trusted proxy says that %r has asked it, which is no address", hop.client)
                break
            client = str(named)
            if not self._trusts(client):
                break
        scheme = _SCHEMES.get(scheme.lower(), request.scheme)
        if not self._host or not host:
            return attrs.evolve(request, client=client, scheme=scheme)
        if not _HOST.fullmatch(host):
            logger.info("a trusted proxy says that it was called %r, which is no name", host)
            host = request.host
        return attrs.evolve(request, client=client, scheme=scheme, host=host)

    def _trusts(self, client: str | None) -> bool:
        if client is None:
            return self._unix
        address = _address(client)
        return address is not None and any(address in network for network in self._networks)


def _hops_of_x_forwarded(request: Request) -> list[_Hop]:
    """What the proxies say in ``X-Forwarded-For`` and its like, the nearest one's word first."""
    names = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
    clients, schemes, hosts = ([*reversed(_list(request, name))] for name in names)
    hops = zip_longest(clients, schemes, hosts, fillvalue="")
    return [_Hop(*hop) for hop in hops]


def _hops_of_forwarded(request: Request) -> list[_Hop]:
    """The same in ``Forwarded``. A comma or a semicolon in quotes, which no such entry needs, makes it unreadable."""
    return [_hop(element) for element in reversed(_list(request, "forwarded"))]


def _hop(element: str) -> _Hop:
    fields: dict[str, str] = {}
    for pair in element.split(";"):
        name, _, text = pair.strip().partition("=")
        quoted = len(text) > 1 and text[0] == text[-1] == '"'
        fields[name.lower()] = re.sub(r"\\(.)", r"\1", text[1:-1]) if quoted else text
    return _Hop(fields.get("for", ""), fields.get("proto", ""), fields.get("host", ""))


def _list(request: Request, name: str) -> list[str]:
    text = request.headers.get(name)
    return [] if text is None else [entry.strip() for entry in text.split(",")]


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address of a node, less its port; that of IPv4 where it stands in one of IPv6."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
