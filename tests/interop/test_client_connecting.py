"""How our client gets to the real ASP.NET Core server, and to ours: the same way."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import trio

from trio_hubs import (
    ConnectionClosed,
    ConnectionOptions,
    Hub,
    HubApp,
    HubConnectionOptions,
    HubOptions,
    NegotiationError,
    Request,
    TokenReason,
    Transport,
    User,
    open_connection,
    open_hub_connection,
)

pytestmark = pytest.mark.interop

PATIENCE = 20.0  # seconds

each_transport = pytest.mark.parametrize("transport", Transport)


@pytest.fixture(params=["conformance_server", "dotnet_server"], ids=["ours", "dotnet"])
def address(request: pytest.FixtureRequest) -> str:
    """The address of our own server, then of the official one."""
    server: str = request.getfixturevalue(request.param)
    return server


def one(transport: Transport) -> HubConnectionOptions:
    return HubConnectionOptions(transports=[transport])


@each_transport
async def test_a_raw_client_beside_a_raw_handler(address: str, transport: Transport) -> None:
    options = ConnectionOptions(transports=[transport])
    with trio.fail_after(PATIENCE):
        async with open_connection(f"{address}/echo", options=options) as connection:
            for piece in (b"hello", b"many\nlines" * 1000):
                await connection.send(piece)
                got = b""
                while len(got) < len(piece):
                    got += await connection.receive()
                assert got == piece


@pytest.mark.parametrize(
    ("path", "transports"),
    [
        ("/polling-only", [Transport.LONG_POLLING]),
        ("/websockets-only", [Transport.WEBSOCKETS]),
        ("/conformance", list(Transport)),
    ],
)
async def test_what_the_server_offers_is_taken(address: str, path: str, transports: list[Transport]) -> None:
    with trio.fail_after(PATIENCE):
        async with open_hub_connection(address + path) as connection:
            assert await connection.invoke("Add", 40, 2) == 42
        for transport in set(Transport) - set(transports):
            with pytest.raises(NegotiationError) as caught:
                async with open_hub_connection(address + path, options=one(transport)):
                    raise AssertionError
            assert list(caught.value.failures) == transports


def then(*tokens: str) -> tuple[Callable[[TokenReason], str], list[TokenReason]]:
    """A source of these tokens in turn, and why it was asked."""
    reasons: list[TokenReason] = []

    def token(reason: TokenReason) -> str:
        reasons.append(reason)
        return tokens[len(reasons) - 1]

    return token, reasons


@each_transport
async def test_a_refused_token_is_asked_for_anew(address: str, transport: Transport) -> None:
    token, reasons = then("bad", "ann:admin")
    with trio.fail_after(PATIENCE):
        async with open_hub_connection(
            f"{address}/auth", access_token=token, options=one(transport)
        ) as connection:
            assert await connection.invoke("UserId") == "ann"
            await connection.invoke("ForAdmins")
    assert reasons == [TokenReason.FIRST, TokenReason.REFUSED]


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("token", [None, "bad", lambda _: "bad"], ids=["none", "bad", "asked for"])
async def test_who_is_not_let_in_is_told_so(address: str, token: Any, skip: bool) -> None:
    with trio.fail_after(PATIENCE), pytest.raises((NegotiationError, ConnectionClosed)) as caught:
        async with open_hub_connection(f"{address}/auth", access_token=token, skip_negotiation=skip):
            raise AssertionError
    assert caught.value.status == 401
    assert not caught.value.retriable


async def test_where_there_is_nothing_is_told_apart_from_that(address: str) -> None:
    with trio.fail_after(PATIENCE), pytest.raises(NegotiationError) as caught:
        async with open_hub_connection(f"{address}/nothing-here"):
            raise AssertionError
    assert caught.value.status == 404
    assert caught.value.retriable


@each_transport
async def test_a_token_is_renewed_before_it_expires(transport: Transport) -> None:
    """Only ours can: the official server does so from ASP.NET Core 11 on."""
    reasons: list[TokenReason] = []
    renewed = trio.Event()

    class Desk(Hub):
        def who(self) -> Any:
            return self.context.user and self.context.user.claims.get("number")

        async def on_authentication_refreshed(self) -> None:
            renewed.set()

    def token(reason: TokenReason) -> str:
        reasons.append(reason)
        return str(len(reasons))

    begin = time.time()
    users = {
        number: User("ann", claims={"number": number}, expires_at=begin + lasts)
        for number, lasts in (("1", 3), ("2", 1000))
    }

    def authenticate(request: Request) -> User | None:
        return users.get(request.bearer_token or "")

    app = HubApp(authenticate=authenticate, options=HubOptions(authentication_refresh=True))
    app.add_hub("/desk", Desk)
    async with trio.open_nursery() as nursery:
        address = await nursery.start(app.serve, "127.0.0.1", 0)
        with trio.fail_after(PATIENCE):
            async with open_hub_connection(
                f"{address}/desk", access_token=token, options=one(transport)
            ) as connection:
                assert await connection.invoke("Who") == "1"
                await renewed.wait()
                assert await connection.invoke("Who") == "2"
                await trio.sleep(3)
                assert await connection.invoke("Who") == "2"
        nursery.cancel_scope.cancel()
    assert reasons == [TokenReason.FIRST, TokenReason.EXPIRING]
