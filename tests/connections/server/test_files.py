"""A file is sent whole, in a range, or not at all to whoever has it; what is no file is not there."""

import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair

from tests.connections.websocket.websocket_peer import PATIENCE
from trio_hubs.connections.http import Request
from trio_hubs.connections.server import files
from trio_hubs.connections.server.exchange import Deferred
from trio_hubs.connections.server.files import READ_SIZE, FileResponse, content_type_of

from .http_peer import LOGGER, Answer, Client, describe, open_server, request, server

TEXT = b"0123456789"


@asynccontextmanager
async def open_files(path: Path | str, **more: Any) -> AsyncGenerator[Client]:
    async def route(request: Request) -> Deferred:
        return FileResponse(path, **more).deferred(request)

    async with open_server({"/": route, "/describe": describe}) as client:
        yield client


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_bytes(TEXT)
    os.utime(file, (1_000_000_000, 1_000_000_000))
    return file


TAG, DATE = f'"{1_000_000_000_000_000_000:x}-a"', "Sun, 09 Sep 2001 01:46:40 GMT"

# ---- whole


async def test_a_file_is_sent_with_what_it_is_known_by(text: Path) -> None:
    async with open_files(text) as client:
        answer = await client.ask("GET", "/")
        assert (answer.status, answer.body) == (200, TEXT)
        date = answer.headers["date"]
        assert answer.headers == {
            "date": date,
            "content-type": "text/plain; charset=utf-8",
            "content-length": "10",
            "etag": TAG,
            "last-modified": DATE,
            "accept-ranges": "bytes",
            "x-content-type-options": "nosniff",
        }
        assert (await client.ask("GET", "/describe")).status == 200


@pytest.mark.parametrize("size", [0, 1, READ_SIZE - 1, READ_SIZE, READ_SIZE + 1, 3 * READ_SIZE + 7])
async def test_a_file_has_any_size(size: int, tmp_path: Path) -> None:
    file, body = tmp_path / "file", os.urandom(size)
    file.write_bytes(body)
    async with open_files(str(file)) as client:
        for _ in range(2):
            answer = await client.ask("GET", "/")
            assert (answer.headers["content-length"], answer.headers["content-type"]) == (
                str(size),
                "application/octet-stream",
            )
            assert answer.body == body


async def test_head_has_no_body_and_breaks_no_pipeline(text: Path) -> None:
    async with open_files(text) as client:  # as aiohttp's issue 4809 has it
        await client.send(request("HEAD", "/") + request("GET", "/"))
        answer = await client.answer("HEAD")
        assert (answer.status, answer.headers["content-length"], answer.body) == (200, "10", b"")
        assert (await client.answer()).body == TEXT


async def test_the_type_and_further_headers_are_ones_own(text: Path) -> None:
    headers = {"Cache-Control": "no-cache", "Set-Cookie": ["a=1", "b=2"], "ETag": '"mine"'}
    async with open_files(text, content_type="text/csv", headers=headers) as client:
        answer = await client.ask("GET", "/")
        assert answer.headers["content-type"] == "text/csv"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["etag"] == '"mine"'


async def test_a_client_that_asks_much_at_once_gets_it_in_order(tmp_path: Path) -> None:
    file, body = tmp_path / "file", os.urandom(2 * READ_SIZE)
    file.write_bytes(body)
    async with open_files(file) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.send, request("GET", "/") + request("GET", "/describe") * 1000)
        assert (await client.answer()).body == body
        for _ in range(1000):
            assert (await client.answer()).status == 200


async def test_a_client_that_says_no_more_still_gets_its_file(text: Path) -> None:
    near, far = memory_stream_pair()

    async def route(request: Request) -> Deferred:
        return FileResponse(text).deferred(request)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server({"/": route}).serve_stream, near)
        await far.send_all(request("GET", "/"))
        await far.send_eof()
        assert (await Client(far).answer()).body == TEXT


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("A.JS", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.svg", "image/svg+xml"),
        ("a.wasm", "application/wasm"),
        ("a.woff2", "font/woff2"),
        ("a.webp", "image/webp"),
        ("a.tar.gz", "application/gzip"),
        ("a.js.br", "application/octet-stream"),
        ("a", "application/octet-stream"),
        ("a.b/c", "application/octet-stream"),
        ("data:text/html,x", "application/octet-stream"),
        (".", "application/octet-stream"),
    ],
)
def test_a_type_is_of_the_name_alone(name: str, kind: str) -> None:
    assert content_type_of(f"/some/{name}") == kind


# ---- for those who have it


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If_None_Match": TAG}, 304),
        ({"If_None_Match": f"W/{TAG}"}, 304),
        ({"If_None_Match": f'"other", {TAG}'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"other"'}, 200),
        ({"If_None_Match": ""}, 200),
        ({"If_None_Match": TAG.strip('"')}, 200),
        ({"If_None_Match": '"other"', "If_Modified_Since": DATE}, 200),  # the tag goes before
        ({"If_None_Match": TAG, "If_Modified_Since": "garbage"}, 304),
        ({"If_Modified_Since": DATE}, 304),
        ({"If_Modified_Since": "Sun, 09 Sep 2001 01:46:39 GMT"}, 200),
        ({"If_Modified_Since": "Sun, 99 Xyz 99999 99:99:99 GMT"}, 200),
        ({"If_Modified_Since": ""}, 200),
        ({"If_None_Match": TAG, "Range": "bytes=0-1"}, 304),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_who_has_it_is_told_so(method: str, headers: dict[str, str], status: int, text: Path) -> None:
    async with open_files(text) as client:
        answer = await client.ask(method, "/", **headers)
        assert (answer.status, answer.headers["etag"]) == (status, TAG)
        if status == 304:
            assert answer.body == b""
            assert "content-length" not in answer.headers
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"  # which caches take over
        assert (await client.ask("GET", "/describe")).status == 200


async def test_what_a_post_gives_is_given(text: Path) -> None:
    async with open_files(text) as client:
        assert (await client.ask("POST", "/", b"x", If_None_Match=TAG, Range="bytes=0-1")).body == TEXT


async def test_a_file_that_has_changed_is_another(text: Path) -> None:
    async with open_files(text) as client:
        text.write_bytes(b"9876543210")  # noqa: ASYNC240
        answer = await client.ask("GET", "/", If_None_Match=TAG)
        assert (answer.status, answer.body) == (200, b"9876543210")
        assert answer.headers["etag"] != TAG


# ---- ranges


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-9", (0, 10)),
        ("bytes=0-", (0, 10)),  # which browsers ask for when they may seek
        ("bytes=2-4", (2, 5)),
        ("bytes=5-", (5, 10)),
        ("bytes=5-99999", (5, 10)),  # aiohttp's issue 1588
        ("bytes=9-999999999999999999", (9, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("Bytes=1-2", (1, 3)),
        (" bytes=1-2 ", (1, 3)),
        ("bytes=10-", None),  # aiohttp's issue 1707
        ("bytes=99-100", None),
        ("bytes=-0", None),
    ],
)
async def test_a_range_is_given(asked: str, given: tuple[int, int] | None, text: Path) -> None:
    async with open_files(text) as client:
        answer = await client.ask("GET", "/", Range=asked)
        if given is None:
            assert (answer.status, answer.body, answer.headers["content-range"]) == (416, b"", "bytes */10")
        else:
            first, end = given
            assert (answer.status, answer.body) == (206, TEXT[first:end])
            assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/10"
            assert answer.headers["content-length"] == str(end - first)
        assert (await client.ask("GET", "/describe")).status == 200


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=-",
        "bytes=4-2",
        "bytes=a-b",
        "bytes=1",
        "bytes",
        "bytes=",
        "items=0-1",
        "bytes=0-1,3-4",
        "bytes=0-1," * 1000,
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=\u0661-",
        "bytes=1-" + "9" * 5000,
    ],
)
async def test_what_is_no_range_or_more_than_one_is_the_whole(asked: str, text: Path) -> None:
    async with open_files(text) as client:
        answer = await client.ask("GET", "/", Range=asked)
        assert (answer.status, answer.body) == (200, TEXT)


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (TAG, 206),
        (DATE, 206),
        ('"other"', 200),  # aiohttp's pull request 13480
        (f"W/{TAG}", 200),
        ("Sun, 09 Sep 2001 01:46:39 GMT", 200),
        ("", 200),
    ],
)
async def test_a_range_of_a_file_that_has_changed_is_the_whole(
    condition: str, status: int, text: Path
) -> None:
    async with open_files(text) as client:
        assert (await client.ask("GET", "/", Range="bytes=0-1", If_Range=condition)).status == status


async def test_a_range_of_nothing_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    async with open_files(tmp_path / "empty") as client:
        for asked in ("bytes=0-", "bytes=-5"):
            answer = await client.ask("GET", "/", Range=asked)
            assert (answer.status, answer.headers["content-range"]) == (416, "bytes */0")
        assert (await client.ask("HEAD", "/", Range="bytes=0-")).status == 200


async def test_a_long_range_of_a_large_file(tmp_path: Path) -> None:
    file, body = tmp_path / "file", os.urandom(4 * READ_SIZE)
    file.write_bytes(body)
    async with open_files(file) as client:
        answer = await client.ask("GET", "/", Range=f"bytes=1000-{3 * READ_SIZE}")
        assert answer.body == body[1000 : 3 * READ_SIZE + 1]


# ---- what is no file


async def ask_for(path: Path | str) -> Answer:
    async with open_files(path) as client:
        answer = await client.ask("GET", "/")
        assert (await client.ask("GET", "/describe")).status == 200
        return answer


async def test_what_is_no_file_is_not_there(text: Path, caplog: pytest.LogCaptureFixture) -> None:
    pipe = text.with_name("pipe")
    os.mkfifo(pipe)
    link = text.with_name("link")
    link.symlink_to(link)
    for path in (
        text.parent,
        text / "x",
        text.with_name("missing"),
        pipe,  # which nobody opens at its other end
        link,
        "/dev/null",
        f"{text}\0",
        "x" * 10_000,
        "",
    ):
        answer = await ask_for(path)
        assert (answer.status, answer.body) == (404, b"Nothing is served at /")
    assert caplog.records == []


async def test_a_system_that_is_at_its_end_is_a_failure(
    text: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> int:
        raise OSError(24, "Too many open files")

    async with open_files(text) as client:
        monkeypatch.setattr(os, "open", fail)
        assert (await client.ask("GET", "/")).status == 500
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_file_that_becomes_shorter_meanwhile_is_cut_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(4 * READ_SIZE))
    near, far = memory_stream_pair()

    async def route(request: Request) -> Deferred:
        return FileResponse(file).deferred(request)

    hook = near.send_stream.send_all_hook
    assert hook is not None

    async def shrink() -> None:
        os.truncate(file, READ_SIZE)
        await hook()

    near.send_stream.send_all_hook = shrink
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server({"/": route}).serve_stream, near)
        client = Client(far)
        await client.send(request("GET", "/"))
        assert len(await client.rest()) < 4 * READ_SIZE
    assert [record.levelno for record in caplog.records if record.name == LOGGER] == [logging.ERROR]


async def test_files_are_closed_whatever_happens(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[FileIO] = []

    class NotedFile(FileIO):
        def __init__(self, descriptor: int) -> None:
            super().__init__(descriptor)
            opened.append(self)

    monkeypatch.setattr(files, "FileIO", NotedFile)
    large = tmp_path / "large"
    large.write_bytes(bytes(8 * READ_SIZE))
    await ask_for(text)
    await ask_for("/dev/null")
    near, far = memory_stream_pair()

    async def route(request: Request) -> Deferred:
        return FileResponse(large).deferred(request)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server({"/": route}).serve_stream, near)
            await far.send_all(request("GET", "/"))
            await far.receive_some(10)
            await far.aclose()
    assert [file.closed for file in opened] == [True] * 3
