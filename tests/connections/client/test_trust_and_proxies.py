"""All legs of a connection have one trust, one proxy and one client: TLS, certificates, tunnels."""

import logging
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path

import attrs
import httpx2
import pytest
import trio
import trustme

from trio_hubs import ConnectionClosed, ConnectionFailed, HubApp, NegotiationError, Response, Transport

from .echoing import echo_app, echoes, serving
from .tunnels import Tunnels, copy, open_tunnels

each_transport = pytest.mark.parametrize("transport", Transport)

HUB = "https://hub.example/echo"
"""A name that only the proxy knows."""


@attrs.frozen
class Secured:
    """An app that serves by TLS.

    Attributes:
        address: Where.
        authority: Who has issued its certificate.
        context: The server's.
        file: The certificate of the authority.
    """

    address: str
    authority: trustme.CA
    context: ssl.SSLContext
    file: Path

    def trusting(self) -> ssl.SSLContext:
        """What trusts it."""
        return ssl.create_default_context(cafile=self.file)


@pytest.fixture
async def address() -> AsyncGenerator[str]:
    """The address of an app that serves without."""
    async with serving(echo_app()) as address:
        yield address


@pytest.fixture
async def tls(tmp_path: Path) -> AsyncGenerator[Secured]:
    """An app that serves by TLS."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "hub.example").configure_cert(context)
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    async with serving(echo_app(), context) as address:
        yield Secured(address, authority, context, file)


@pytest.fixture
async def tunnels(tls: Secured) -> AsyncGenerator[Tunnels]:
    """A proxy before it."""
    async with open_tunnels(tls.address) as tunnels:
        yield tunnels


# ---- trust


@each_transport
async def test_all_legs_trust_the_same(
    tls: Secured, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    await echoes(f"{tls.address}/echo", transport, ssl_context=tls.trusting())
    with pytest.raises(NegotiationError, match=r"(?i)certificate"):
        await echoes(f"{tls.address}/echo", transport)
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.file))
    await echoes(f"{tls.address}/echo", transport)


@each_transport
async def test_all_legs_show_the_certificate_of_the_client(tls: Secured, transport: Transport) -> None:
    tls.context.verify_mode = ssl.CERT_REQUIRED
    tls.authority.configure_trust(tls.context)
    url = f"{tls.address}/echo"
    with pytest.raises(NegotiationError, match="Cannot negotiate with"):
        await echoes(url, transport, ssl_context=tls.trusting())
    showing = tls.trusting()
    tls.authority.issue_cert("ann@example.org").configure_cert(showing)
    await echoes(url, transport, ssl_context=showing)
    async with httpx2.AsyncClient(verify=showing) as http_client:
        await echoes(url, transport, http_client=http_client)
    stranger = tls.trusting()
    trustme.CA().issue_cert("ann@example.org").configure_cert(stranger)
    with pytest.raises(NegotiationError, match="Cannot negotiate with"):
        await echoes(url, transport, ssl_context=stranger)


# ---- a proxy that asks the server itself


@each_transport
async def test_all_legs_go_by_the_proxy(
    address: str, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "http://nowhere.invalid/echo"  # which our server does not look at, so that it is a good proxy
    await echoes(url, transport, proxy=address)
    monkeypatch.setenv("HTTP_PROXY", address)
    await echoes(url, transport, proxy="environment")
    with pytest.raises(NegotiationError, match=r"cannot connect to nowhere\.invalid:80"):
        await echoes(url, transport)


# ---- a proxy that tunnels


@each_transport
@pytest.mark.parametrize("scheme", ["https", "wss"])
async def test_all_legs_go_through_the_tunnel_and_the_proxy_sees_nothing_of_them(
    tls: Secured, tunnels: Tunnels, transport: Transport, scheme: str
) -> None:
    await echoes(
        HUB.replace("https", scheme),
        transport,
        ssl_context=tls.trusting(),
        proxy=f"http://127.0.0.1:{tunnels.port}",
        access_token="SECRET",
        headers={"X-Who": "SECRET", "Cookie": "a=SECRET"},
    )
    assert {head.partition("\r\n")[0] for head in tunnels.asked} == {"CONNECT hub.example:443 HTTP/1.1"}
    assert "SECRET" not in "".join(tunnels.asked)


@each_transport
async def test_all_legs_go_through_the_tunnel_that_the_environment_names(
    tls: Secured, tunnels: Tunnels, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{tunnels.port}")
    await echoes(HUB, transport, ssl_context=tls.trusting(), proxy="environment")
    assert tunnels.asked
    tunnels.asked.clear()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    await echoes(f"{tls.address}/echo", transport, ssl_context=tls.trusting(), proxy="environment")
    assert not tunnels.asked
    with pytest.raises(NegotiationError, match=r"cannot connect to hub\.example:443"):
        await echoes(HUB, transport, ssl_context=tls.trusting())  # it was not asked for
    assert not tunnels.asked


@each_transport
async def test_the_proxy_is_shown_the_credentials_of_its_url(
    tls: Secured, tunnels: Tunnels, transport: Transport
) -> None:
    tunnels.credentials = "ann:p@ss"
    proxy = f"http://ann:p%40ss@127.0.0.1:{tunnels.port}"
    await echoes(HUB, transport, ssl_context=tls.trusting(), proxy=proxy)


@pytest.mark.parametrize("user", ["", "ann:SECRET@"])
@pytest.mark.parametrize("skip", [False, True])
async def test_a_proxy_that_refuses_is_told_from_a_server_and_no_secret_is(
    tls: Secured, tunnels: Tunnels, user: str, skip: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tunnels.credentials = "ann:password"
    with pytest.raises(
        ConnectionFailed, match=r"the proxy answered 407 \(Proxy Authentication Required\)"
    ) as caught:
        await echoes(
            HUB,
            Transport.WEBSOCKETS,
            ssl_context=tls.trusting(),
            proxy=f"http://{user}127.0.0.1:{tunnels.port}",
            skip_negotiation=skip,
        )
    assert type(caught.value) is (ConnectionClosed if skip else NegotiationError)
    assert caught.value.status == 407
    assert not caught.value.retriable
    shown = f"{caught.value} {caught.value.server_text} {caplog.text}"
    assert "SECRET" not in shown
    assert "YW5uOl" not in shown  # "ann:" as it is shown to the proxy


async def test_a_proxy_that_cannot_reach_the_server_may_be_asked_again(
    tls: Secured, tunnels: Tunnels
) -> None:
    tunnels.status = "502 Bad Gateway"
    with pytest.raises(NegotiationError, match=r"the proxy answered 502 \(Bad Gateway\)") as caught:
        await echoes(HUB, Transport.WEBSOCKETS, proxy=f"http://127.0.0.1:{tunnels.port}")
    assert (caught.value.status, caught.value.retriable) == (502, True)


async def test_a_proxy_that_asks_the_server_itself_may_refuse_too() -> None:
    app = HubApp()
    app.add_route("/echo/negotiate", lambda _: Response(b"who?", status=407), methods=["POST"])
    async with serving(app) as proxy:
        with pytest.raises(NegotiationError, match="it answered 407") as caught:
            await echoes("http://hub.example/echo", Transport.WEBSOCKETS, proxy=proxy)
    assert not caught.value.retriable


async def test_a_proxy_that_is_not_there_is_named(tls: Secured) -> None:
    with pytest.raises(NegotiationError, match=r"hub\.example:443: \[Errno 111\] .*'127\.0\.0\.1', 1\)"):
        await echoes(HUB, Transport.WEBSOCKETS, proxy="http://ann:SECRET@127.0.0.1:1")


# ---- a client of the user's own


@each_transport
async def test_all_legs_go_by_a_client_of_the_users_own_such_as_by_a_unix_socket(
    address: str, transport: Transport, tmp_path: Path
) -> None:
    path = str(tmp_path / "socket")
    host, _, port = address.removeprefix("http://").partition(":")

    async def relay(near: trio.SocketStream) -> None:
        async with await trio.open_tcp_stream(host, int(port)) as far, trio.open_nursery() as nursery:
            nursery.start_soon(copy, near, far)
            await copy(far, near)
            nursery.cancel_scope.cancel()

    with trio.socket.socket(trio.socket.AF_UNIX) as listening:
        await listening.bind(path)
        listening.listen()
        async with (
            trio.open_nursery() as nursery,
            httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=path)) as http_client,
        ):
            nursery.start_soon(trio.serve_listeners, relay, [trio.SocketListener(listening)])
            await echoes("http://nowhere.invalid/echo", transport, http_client=http_client)
            nursery.cancel_scope.cancel()
