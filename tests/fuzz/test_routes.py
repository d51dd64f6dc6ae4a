"""Whatever a route, a folder or a proxy is asked, the answer is one of those that there are, and tells no secret."""

import tempfile
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from tests.connections.server.http_peer import Answer, Client, request
from tests.connections.websocket.websocket_peer import PATIENCE
from trio_hubs import FileResponse, HubApp, Request, Response, TrustedProxies
from trio_hubs.connections.http import CaseInsensitive
from trio_hubs.connections.server.http_server import HttpServer

from .pieces import examples

SECRET = b"secret"
TEXT = bytes(range(32, 127))

NAMES = st.sampled_from(
    [
        "..",
        ".",
        "",
        "site",
        "docs",
        "index.html",
        "link",
        "out",
        ".env",
        "secret.txt",
        "site2",
        "%2e",
        "\\",
        "%2F",
        "\0",
    ]
)
PATHS = st.lists(st.one_of(NAMES, st.text(max_size=3)), max_size=5).map("/".join)
TARGETS = st.one_of(
    PATHS.map(lambda path: quote(path, safe="/%\\.")),
    PATHS.map(quote),
    PATHS.map(lambda path: quote(path, safe="")),
)


@pytest.fixture(scope="module")
def site() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "site")
        (root / "docs").mkdir(parents=True)
        (root / "index.html").write_bytes(TEXT)
        (root / "docs/index.html").write_bytes(TEXT)
        (root / ".env").write_bytes(SECRET)
        (root / "link").symlink_to("docs")
        (root / "out").symlink_to(folder)
        (root.parent / "secret.txt").write_bytes(SECRET)
        (root.parent / "site2").mkdir()
        (root.parent / "site2/index.html").write_bytes(SECRET)
        yield root


async def ask(app: HubApp, method: str, target: str, **headers: str) -> Answer:
    near, far = memory_stream_pair()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(HttpServer(app.site.router).serve_stream, near)
            client = Client(far)
            await client.send(request(method, target, **headers))
            answer = await client.answer(method)
            await far.aclose()
    return answer


@given(target=TARGETS)
@examples(2)
def test_a_folder_gives_its_own_files_alone(site: Path, target: str) -> None:
    app = HubApp()
    app.add_static("/", site)
    answer = trio.run(ask, app, "GET", f"/{target}")
    assert answer.status in (200, 307, 404)
    assert answer.body in (TEXT, b"") if answer.status != 404 else SECRET not in answer.body.split()
    assert answer.headers.get("location", "./").startswith("./")


NUMBERS = st.one_of(st.just(""), st.integers(-2, 200).map(str), st.integers(0, 10**30).map(str))
RANGES = st.one_of(
    st.tuples(NUMBERS, NUMBERS).map(lambda ends: f"bytes={ends[0]}-{ends[1]}"),
    st.text("bytes=-0123456789, ", max_size=20),
)
TAGS = st.text('"W/*, 0123456789abcdef', max_size=20)


@given(
    asked=RANGES, if_range=st.none() | TAGS, known=st.none() | TAGS, method=st.sampled_from(["GET", "HEAD"])
)
@examples(2)
def test_a_part_of_a_file_is_what_it_says(
    site: Path, asked: str, if_range: str | None, known: str | None, method: str
) -> None:
    app = HubApp()
    app.add_route("/", lambda _: FileResponse(site / "index.html"))
    headers = {"Range": asked, "If_Range": if_range, "If_None_Match": known}
    answer = trio.run(_ask, app, method, {name: text for name, text in headers.items() if text is not None})
    assert answer.status in (200, 206, 304, 416)
    part = answer.headers.get("content-range", "")
    if answer.status == 206:
        first, last = map(int, part.removeprefix("bytes ").removesuffix(f"/{len(TEXT)}").split("-"))
        assert (method, answer.body) == ("GET", TEXT[first : last + 1])
    elif answer.status == 416:
        assert (answer.body, part) == (b"", f"bytes */{len(TEXT)}")
    else:
        assert answer.body == (TEXT if (answer.status, method) == (200, "GET") else b"")
        assert part == ""


async def _ask(app: HubApp, method: str, headers: dict[str, str]) -> Answer:
    return await ask(app, method, "/", **headers)


HOPS = st.one_of(
    st.sampled_from(
        ["10.0.0.1", "198.51.100.7", "::1", "[::1]:80", "unknown", '"', "for=", "10.0.0.1:80", "evil"]
    ),
    st.text('0123456789.:[]%",;=\\ for', max_size=20),
    st.text(max_size=5),
)


@given(entries=st.lists(HOPS, max_size=6), forwarded=st.booleans(), schemes=st.lists(HOPS, max_size=3))
@examples(10)
def test_a_client_is_an_address_that_a_trusted_proxy_has_named(
    entries: list[str], forwarded: bool, schemes: list[str]
) -> None:
    proxies = TrustedProxies("10.0.0.0/8", forwarded=forwarded, host=True)
    texts = [f"for={entry};proto={entry};host={entry}" for entry in entries] if forwarded else entries
    headers = CaseInsensitive(
        [
            ("Host", "inner"),
            ("Forwarded" if forwarded else "X-Forwarded-For", ", ".join(texts)),
            ("X-Forwarded-Proto", ",".join(schemes)),
            ("X-Forwarded-Host", ",".join(schemes)),
        ]
    )
    seen = proxies.look_through(Request(client="10.9.9.9", headers=headers))
    assert seen.client is not None
    ip_address(seen.client)
    assert seen.scheme in ("http", "https")
    assert seen.host
    for client in ("198.51.100.1", None):
        untouched = Request(client=client, headers=headers)
        assert proxies.look_through(untouched) is untouched


@given(text=st.text("abc=;\"' ,%\\", max_size=30))
@examples(10)
def test_cookies_are_texts_by_names(text: str) -> None:
    for name, value in Request(headers={"cookie": text}).cookies.items():
        assert name == name.strip() != ""
        assert ";" not in value


@given(target=TARGETS)
@examples(2)
def test_a_parameter_is_a_segment_of_the_path(target: str) -> None:
    seen: list[tuple[str, str]] = []

    def tell(_: Request, one: str, rest: str) -> Response:
        seen.append((one, rest))
        return Response()

    app = HubApp()
    app.add_route("/x/{one}/{rest:path}", tell)
    answer = trio.run(ask, app, "GET", f"/x/{target}")
    assert answer.status == (200 if seen else 404)
    for one, _ in seen:
        assert one
