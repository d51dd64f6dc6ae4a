"""How one comes to a Redis: by which URL, over TLS, with which password, and what its ACL allows."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import coredis
import pytest
import trio
import trustme

from tests.fleet.bus_contract import Heard
from trio_hubs.errors import BackplaneError
from trio_hubs.fleet.bus import Bus
from trio_hubs.redis import RedisBackplane

from .redis_process import RedisProcess, free_port

pytestmark = pytest.mark.filterwarnings("ignore:.*MemoryObject.*:pytest.PytestUnraisableExceptionWarning")

SECRET = "p@ss/w:rd#?&%41"
ESCAPED = "p%40ss%2Fw%3Ard%23%3F%26%2541"


class Guarded(RedisProcess):
    """A Redis with users and TLS."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
        certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
        self.tls_port = free_port()
        super().__init__(
            folder,
            *("--tls-port", str(self.tls_port), "--tls-auth-clients", "no"),
            *("--tls-cert-file", str(folder / "cert.pem"), "--tls-key-file", str(folder / "key.pem")),
            config=f'requirepass "{SECRET}"\n'
            f'user ann on ">{SECRET}" resetchannels &app* +hello +ping '
            "+publish +subscribe +unsubscribe +pubsub|numsub\n"
            f'user new on ">{SECRET}" ~* &* +@all\n'
            f'user old on ">{SECRET}" ~* &* +@all -ssubscribe -spublish',
        )


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    process = Guarded(tmp_path_factory.mktemp("redis"))
    yield process
    process.kill()


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a connection leaves behind that could not be opened is complained of where that is ignored."""
    yield
    gc.collect()


@asynccontextmanager
async def open_bus(
    redis: str | coredis.Redis[bytes], *, prefix: str = "app", sharded: bool = False, timeout: float = 10
) -> AsyncGenerator[Bus]:
    backplane = RedisBackplane(redis, channel_prefix=prefix, sharded=sharded, publish_timeout=timeout)
    async with backplane.open_bus():
        yield backplane.bus


async def expect_refusal(redis: str | coredis.Redis[bytes], text: str) -> None:
    async with open_bus(redis, timeout=0.5) as bus:
        with pytest.raises(BackplaneError, match=text):
            await bus.wait_room("a")


@pytest.mark.parametrize(
    "url",
    [
        "redis://:{secret}@localhost:{port}",
        "redis://ann:{secret}@127.0.0.1:{port}",
        "redis://127.0.0.1:{port}/0?username=ann&password={secret}",
        "redis://new:{secret}@127.0.0.1:{port}/3",
        "unix://ann:{secret}@{path}",
        "rediss://ann:{secret}@localhost:{tls_port}?ssl_ca_certs={authority}",
        "rediss://ann:{secret}@127.0.0.1:{tls_port}/0?ssl_ca_certs={authority}&ssl_check_hostname=false",
        "rediss://ann:{secret}@127.0.0.1:{tls_port}?ssl_cert_reqs=none",
    ],
)
async def test_urls(redis: Guarded, url: str) -> None:
    path = redis.url.removeprefix("unix://")
    url = url.format(secret=ESCAPED, path=path, **vars(redis))
    heard = Heard[bytes]()
    async with open_bus(url) as bus, open_bus(f"unix://new:{ESCAPED}@{path}") as other:
        bus.subscribe("a", heard)
        await bus.wait_subscribed("a")
        assert await other.publish_counted("a", b"1") == 1  # whatever database either has chosen
        assert await heard.next() == b"1"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://:wrong@127.0.0.1:{port}", "invalid username-password pair"),
        ("redis://ann:wrong@127.0.0.1:{port}", "invalid username-password pair"),
        ("redis://127.0.0.1:{port}", "already authenticated"),
        ("rediss://ann:{secret}@localhost:{tls_port}", "CERTIFICATE_VERIFY_FAILED"),
        ("rediss://ann:{secret}@127.0.0.1:{tls_port}?ssl_ca_certs={authority}", "IP address mismatch"),
        ("unix:///nowhere/redis.sock", "Unable to establish a connection"),
    ],
)
async def test_who_may_not_come_in_learns_why(
    redis: Guarded, url: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = url.format(secret=ESCAPED, **vars(redis))
    await expect_refusal(url, text)
    assert text in caplog.text
    for secret in (SECRET, ESCAPED, "wrong@"):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "localhost:6379",
        "redis://",
        f"redis://:{SECRET}@localhost",
        "redis://:secret@localhost:secret",
        "redis://[secret",
    ],
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match="a URL of Redis is") as caught:
        RedisBackplane(url)
    assert "secret" not in str(caught.value)
    assert SECRET[:3] not in str(caught.value)


@pytest.mark.parametrize("sharded", [False, True], ids=["plain", "sharded"])
async def test_a_subscription_that_is_refused(
    redis: Guarded, sharded: bool, caplog: pytest.LogCaptureFixture
) -> None:
    user = "old" if sharded else "ann"
    heard = Heard[bytes]()
    async with open_bus(
        f"redis://{user}:{ESCAPED}@127.0.0.1:{redis.port}", prefix="", sharded=sharded, timeout=10
    ) as bus:
        bus.subscribe("b", heard)
        bus.subscribe("app", heard)
        with trio.fail_after(4), pytest.raises(BackplaneError, match=r"refuses .* permission"):
            await bus.wait_subscribed("b")
        with trio.fail_after(4), pytest.raises(BackplaneError, match=r"refuses .* permission"):
            await bus.publish_counted("b", b"")
        assert caplog.text.count("Redis refuses to let this server hear") == (2 if sharded else 1)
        if not sharded:  # and of what it allows nothing is disturbed
            await bus.wait_subscribed("app")
            assert await bus.publish_counted("app", b"1") == 1
            assert await bus.subscribers("app") == 1
            assert await heard.next() == b"1"
        bus.unsubscribe("b")


async def test_one_refused_channel_of_many(redis: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    """Those that are asked for together when the connection is there."""
    heard = Heard[bytes]()
    backplane = RedisBackplane(f"redis://ann:{ESCAPED}@127.0.0.1:{redis.port}")
    for name in ("app1", "b", "app2"):
        backplane.bus.subscribe(name, heard)
    async with backplane.open_bus():
        for name in ("app1", "app2"):
            await backplane.bus.wait_subscribed(name)
            assert await backplane.bus.publish_counted(name, name.encode()) == 1
            assert await heard.next() == name.encode()
        with pytest.raises(BackplaneError, match="refuses"):
            await backplane.bus.wait_subscribed("b")
    assert caplog.text.count("Redis refuses to let this server hear") == 1


async def test_a_server_without_sharded_pub_sub(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    process = RedisProcess(tmp_path, config='rename-command SSUBSCRIBE ""\nrename-command SPUBLISH ""')
    try:
        async with open_bus(process.url, sharded=True) as bus:
            bus.subscribe("a", lambda _: None)
            with trio.fail_after(4), pytest.raises(BackplaneError, match="unknown command 'SSUBSCRIBE'"):
                await bus.wait_subscribed("a")
            with trio.fail_after(4), pytest.raises(BackplaneError, match="unknown command 'SPUBLISH'"):
                await bus.publish_counted("a", b"")
        assert "unknown command 'SSUBSCRIBE'" in caplog.text
    finally:
        process.kill()


async def test_sharded_pub_sub_of_one_server(redis: Guarded) -> None:
    url = f"redis://:{ESCAPED}@127.0.0.1:{redis.port}"
    heard = Heard[bytes]()
    async with open_bus(url, sharded=True) as first, open_bus(url, sharded=True) as second:
        second.subscribe("a", heard)
        await second.wait_subscribed("a")
        assert [await first.publish_counted(name, name.encode()) for name in "ab"] == [1, 0]
        assert await heard.next() == b"a"


async def test_options_of_ones_own(redis: Guarded) -> None:
    """That the client decodes what it is answered changes nothing."""
    client: coredis.Redis[str] = coredis.Redis(
        port=redis.port, username="new", password=SECRET, client_name="hubs", decode_responses=True
    )
    heard = Heard[bytes]()
    async with open_bus(client) as bus:  # type: ignore[arg-type]
        bus.subscribe("a", heard)
        await bus.wait_subscribed("a")
        assert "name=hubs" in redis.ask("--no-auth-warning", "--pass", SECRET, "client", "list")
        assert await bus.publish_counted("a", b"\xff") == 1
        assert await heard.next() == b"\xff"
