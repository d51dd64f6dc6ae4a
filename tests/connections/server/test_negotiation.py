"""Whoever negotiates hears what is offered, and gets a token that is secret; over the wire, see test_endpoint.py."""

import json
from typing import Any

import pytest

from trio_hubs.connections.http import CaseInsensitive, Request, Response
from trio_hubs.connections.server.admission import Admission
from trio_hubs.connections.server.lease import Leases
from trio_hubs.connections.server.negotiation import Negotiation
from trio_hubs.connections.server.options import EndpointOptions
from trio_hubs.connections.server.refresh import Refresh
from trio_hubs.connections.users import User
from trio_hubs.protocol.hub_protocol import TransferFormat
from trio_hubs.protocol.negotiate import Transport

BOTH = frozenset(TransferFormat)
BINARY = frozenset((TransferFormat.BINARY,))


def negotiation(formats: frozenset[TransferFormat] = BOTH, **chosen: Any) -> tuple[Negotiation, Leases]:
    options = EndpointOptions(**chosen)
    leases = Leases(options, Admission(10))
    made = Negotiation(
        options,
        formats,
        leases=leases,
        refresh=Refresh(options, leases),
        refusal=lambda _: Response("full", status=503) if len(leases) else None,
    )
    return made, leases


def asked(**query: str) -> Request:
    return Request(method="POST", path="/hub/negotiate", query=CaseInsensitive(query.items()))


async def test_a_lease_is_kept_for_what_was_answered() -> None:
    made, leases = negotiation(stateful_reconnect=True)
    user = User("ada")
    document = json.loads(made.answer(asked(negotiateVersion="1", useStatefulReconnect="true"), user).body)
    lease = leases.get(document["connectionToken"])
    assert lease is not None
    assert (lease.id, lease.owner.user, lease.stateful) == (document["connectionId"], user, True)
    assert lease.id != lease.token


async def test_only_version_0_has_a_public_token() -> None:
    made, leases = negotiation()
    document = json.loads(made.answer(asked(), None).body)
    lease = leases.get(document["connectionId"])
    assert lease is not None
    assert lease.token == lease.id
    assert not lease.stateful
    alone = leases.make(None)  # as a WebSocket without negotiation has it
    assert alone.token != alone.id
    assert leases.get(alone.token) is None


async def test_a_request_that_is_refused_makes_no_lease() -> None:
    made, leases = negotiation(minimum_negotiate_version=1)
    assert made.answer(Request(), None).status == 405
    assert b"error" in made.answer(asked(), None).body
    assert len(leases) == 0
    assert made.answer(asked(negotiateVersion="1"), None).status == 200
    assert made.answer(asked(negotiateVersion="1"), None).status == 503
    assert len(leases) == 1


def test_what_is_offered() -> None:
    made, _ = negotiation(BINARY)
    assert [made.offers(transport) for transport in Transport] == [True, False, True]
    made, _ = negotiation(transports=["LongPolling"])
    assert [made.offers(transport) for transport in Transport] == [False, False, True]
    with pytest.raises(ValueError, match="none of the transports"):
        negotiation(BINARY, transports=["ServerSentEvents"])
