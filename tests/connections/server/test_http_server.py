"""The front door answers each request: well, or with a 4xx or 5xx; and gives each its time."""

import logging

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.connections.websocket.websocket_peer import PATIENCE, UPGRADE, narrow_stream_pair
from trio_hubs.connections.http import Request, Response
from trio_hubs.connections.server.exchange import Route
from trio_hubs.connections.server.router import FixedPlace

from .http_peer import BAD_REQUESTS, LOGGER, ROUTES, Client, answering, describe, open_server, request, server

METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "STRANGE")

# ---- requests and answers


async def test_a_request_is_answered(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        answer = await client.ask("POST", "/describe?a=1", b"body")
        assert answer.status == 200
        assert answer.body == b"POST /describe {'a': '1'} body"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["content-length"] == str(len(answer.body))
        assert answer.headers["date"].endswith(" GMT")


async def test_a_connection_is_kept_alive(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        for i in range(3):
            assert (await client.ask("GET", f"/describe?{i}=")).status == 200
        assert (await client.ask("GET", "/nowhere")).status == 404
        assert (await client.ask("GET", "/fail")).status == 500
        assert (await client.ask("GET", "/describe")).status == 200


async def test_a_client_may_ask_to_close(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        answer = await client.ask("GET", "/describe", Connection="close")
        assert answer.headers["connection"] == "close"
        assert await client.rest() == b""


async def test_http_1_0_is_answered_and_closed(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        await client.send(b"GET /describe HTTP/1.0\r\n\r\n")
        assert (await client.answer()).body == b"GET /describe {} "
        assert await client.rest() == b""


async def test_pipelined_requests_are_answered_in_order(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        asked = [
            request("GET", "/describe?1="),
            request("POST", "/describe?2=", b"x"),
            request("GET", "/nowhere"),
        ]
        await client.send(b"".join(asked) + request("HEAD", "/describe") + request("GET", "/describe?5="))
        answers = [await client.answer(method) for method in ("GET", "POST", "GET", "HEAD", "GET")]
        assert [answer.status for answer in answers] == [200, 200, 404, 200, 200]
        assert answers[1].body == b"POST /describe {'2': ''} x"
        assert answers[4].body == b"GET /describe {'5': ''} "


async def test_requests_arrive_in_any_pieces(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        for byte in request("POST", "/describe", b"body") * 2:
            await client.send(bytes((byte,)))
            await wait_all_tasks_blocked()
        assert (await client.answer()).body == (await client.answer()).body == b"POST /describe {} body"


async def test_a_body_may_come_in_chunks(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        await client.send(
            request("POST", "/describe", Transfer_Encoding="chunked") + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        assert (await client.answer()).body == b"POST /describe {} abcde"
        assert (await client.ask("GET", "/describe")).status == 200


async def test_head_has_the_headers_of_get_and_no_body(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        for target in ("/describe", "/nowhere", "/fail"):
            answer = await client.ask("HEAD", target)
            assert answer.body == b""
            assert int(answer.headers["content-length"]) > 0
        assert (await client.ask("GET", "/describe")).body == b"GET /describe {} "


async def test_who_expects_a_continue_gets_it(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        await client.send(request("POST", "/describe", Expect="100-continue", Content_Length="4"))
        assert (await client.answer()).status == 100
        await client.send(b"body")
        assert (await client.answer()).body == b"POST /describe {} body"


async def test_who_expects_a_continue_and_does_not_wait_gets_none(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        await client.send(request("POST", "/describe", b"body", Expect="100-continue"))
        assert (await client.answer()).status == 200


async def test_nothing_is_at_an_unknown_path(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        answer = await client.ask("GET", "/no%20where?x=1")
        assert (answer.status, answer.body) == (404, b"Nothing is served at /no where")


async def test_routes_are_looked_up_at_each_request(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    empty = server({})
    async with trio.open_nursery() as nursery, far:
        nursery.start_soon(empty.serve_stream, near)
        client = Client(far)
        assert (await client.ask("GET", "/describe")).status == 404
        empty.router.add({"/describe": FixedPlace(Route(describe))})
        assert (await client.ask("GET", "/describe")).status == 200


@pytest.mark.parametrize(
    ("method", "target", "status", "body"),
    [
        *((method, "/describe", 200, f"{method} /describe {{}} ") for method in METHODS),
        ("get", "/describe", 200, "GET /describe {} "),
        *((method, "/nowhere", 404, "Nothing is served at /nowhere") for method in METHODS),
        *((method, "/fail", 500, "The handler failed.") for method in METHODS),
        ("HEAD", "/describe", 200, ""),
        ("HEAD", "/nowhere", 404, ""),
        ("OPTIONS", "*", 404, "Nothing is served at *"),
        ("CONNECT", "example:443", 405, "This is no proxy."),
        ("CONNECT", "/describe", 405, "This is no proxy."),
        ("GET", "http://other/describe", 200, "GET /describe {} "),
        ("GET", "*", 400, "The request's target is no URL."),
        ("GET", "example:443", 400, "The request's target is no URL."),
        ("OPTIONS", "http://other/describe", 200, "OPTIONS /describe {} "),
    ],
)
async def test_every_method_and_target_is_answered(
    method: str, target: str, status: int, body: str, autojump_clock: MockClock
) -> None:
    async with open_server() as client:
        answer = await client.ask(method, target)
        assert (answer.status, answer.body.decode()) == (status, body)
        if status != 400:
            assert (await client.ask("GET", "/describe")).status == 200


@pytest.mark.parametrize("status", [200, 204, 299, 304, 404, 418, 503, 599])
async def test_an_answer_has_any_status(status: int, autojump_clock: MockClock) -> None:
    async with open_server({"/": answering(Response(status=status))}) as client:
        assert (await client.ask("GET", "/")).status == status
        assert (await client.ask("GET", "/")).status == status


async def test_an_answer_has_the_handlers_headers(autojump_clock: MockClock) -> None:
    response = Response(b"\xff", content_type="image/png", headers={"Cache-Control": "no-store"})
    async with open_server({"/": answering(response)}) as client:
        answer = await client.ask("GET", "/")
        assert answer.body == b"\xff"
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
async def test_a_type_among_the_headers_replaces_the_usual_one(name: str, autojump_clock: MockClock) -> None:
    response = Response("{}", headers={name: "application/json", "date": "then"})
    async with open_server({"/": answering(response)}) as client:
        await client.send(request("GET", "/", Connection="close"))
        head = (await client.rest()).lower()
        assert head.count(b"content-type:") == head.count(b"date:") == 1
        assert b"content-type: application/json\r\n" in head
        assert b"date: then\r\n" in head


async def test_a_header_may_have_several_lines(autojump_clock: MockClock) -> None:
    response = Response(headers={"Set-Cookie": ["a=1", "b=2; Path=/"], "X-None": (), "X-One": "1"})
    async with open_server({"/": answering(response)}) as client:
        await client.send(request("GET", "/", Connection="close"))
        lines = (await client.rest()).split(b"\r\n")
        assert [line for line in lines if line.lower().startswith((b"set-cookie", b"x-"))] == [
            b"Set-Cookie: a=1",
            b"Set-Cookie: b=2; Path=/",
            b"X-One: 1",
        ]


# ---- handlers that fail


async def test_a_handler_that_fails_is_logged_and_its_text_stays_here(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_server() as client:
        answer = await client.ask("GET", "/fail?x=1")
        assert (answer.status, answer.body) == (500, b"The handler failed.")
        assert (await client.ask("GET", "/describe")).status == 200
    (record,) = [record for record in caplog.records if record.name == LOGGER]
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "the handler of GET /fail failed")
    assert record.exc_info is not None


@pytest.mark.parametrize(
    "response",
    [
        Response(headers={"X": "a\r\nInjected: b"}),
        Response(headers={"no name": "a"}),
        Response(content_type="a\nb"),
        Response(status=99),
        Response(status=101),
        Response(b"body", status=204),
    ],
    ids=["line break", "name", "content type", "status", "switch", "body"],
)
async def test_an_answer_that_cannot_be_sent_is_a_failed_handler(
    response: Response, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_server({"/": answering(response)}) as client:
        answer = await client.ask("GET", "/")
        assert (answer.status, answer.body) == (500, b"The handler failed.")
        assert "injected" not in answer.headers
    assert [record.levelno for record in caplog.records if record.name == LOGGER] == [logging.ERROR]


# ---- requests that are not in order


@pytest.mark.parametrize("kind", BAD_REQUESTS)
@pytest.mark.parametrize("before", ["", "GET", "HEAD"])
async def test_a_bad_request_is_answered_and_closed(
    kind: str, before: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    async with open_server() as client:
        if before:
            assert (await client.ask(before, "/describe")).status == 200
        await client.send(BAD_REQUESTS[kind])
        answer = await client.answer()
        assert 400 <= answer.status < 600
        assert answer.body
        assert await client.rest() == b""
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert autojump_clock.current_time() == 0


@pytest.mark.parametrize(
    "headers", [{"Content_Length": "65537"}, {"Transfer_Encoding": "chunked"}], ids=["length", "chunks"]
)
async def test_a_body_has_a_limit(headers: dict[str, str], autojump_clock: MockClock) -> None:
    async with open_server() as client:
        await client.send(request("POST", "/describe", **headers))
        await client.send(bytes(65_537) if "Content_Length" in headers else b"10001\r\n" + bytes(65_537))
        answer = await client.answer()
        assert (answer.status, answer.body) == (413, b"The body is above 65536 bytes.")
        await client.rest()


async def test_a_body_at_the_limit_is_taken(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        answer = await client.ask("POST", "/describe", b"x" * 65_536)
        assert answer.body == b"POST /describe {} " + b"x" * 65_536


@pytest.mark.parametrize(
    "data", [b"GET /describe HT", request("POST", "/describe", b"body")[:-1]], ids=["head", "body"]
)
async def test_a_request_that_is_cut_off_is_no_error_of_ours(
    data: bytes, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_server() as client:
        await client.send(data)
    records = [record for record in caplog.records if record.name == LOGGER]
    assert records
    assert all(record.levelno < logging.WARNING for record in records)


async def test_a_client_that_leaves_before_its_answer_is_no_error_of_ours(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_server() as client:
        await client.send(request("GET", "/describe"))
    assert all(record.levelno < logging.WARNING for record in caplog.records)


# ---- time


async def test_an_idle_client_has_thirty_seconds(autojump_clock: MockClock) -> None:
    async with open_server() as client:
        assert (await client.ask("GET", "/describe")).status == 200
        await trio.sleep(29)
        assert (await client.ask("GET", "/describe")).status == 200
        assert await client.rest() == b""
        assert autojump_clock.current_time() == 59


@pytest.mark.parametrize("cut", [-5, 10])
async def test_a_slow_client_has_thirty_seconds_for_a_request(
    cut: int, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_server() as client:
        data = request("POST", "/describe", b"body" * 100)[:cut]

        async def trickle() -> None:
            for byte in data:
                await trio.sleep(1.1)
                await client.send(bytes((byte,)))

        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await trickle()
                    await trio.sleep(30)
                    await client.send(b"x")

            received = await client.rest()
            assert autojump_clock.current_time() == 30
        assert received.startswith(b"HTTP/1.1 408 ") or [r for r in caplog.records if r.name == LOGGER]


async def test_a_handler_has_all_the_time_it_wants(autojump_clock: MockClock) -> None:
    async def slow(request: Request) -> Response:
        await trio.sleep(500)
        return Response("done")

    async with open_server({"/": slow}) as client:
        assert (await client.ask("GET", "/")).body == b"done"


@pytest.mark.parametrize("target", ["/describe", "/echo"])
async def test_a_client_that_does_not_read_its_answer_is_let_go(
    target: str, autojump_clock: MockClock
) -> None:
    near, far = narrow_stream_pair()
    near.send_stream.room = 10
    await far.send_all(UPGRADE.replace(b"/chat?id=7", target.encode()))
    with trio.fail_after(PATIENCE):
        await server(ROUTES).serve_stream(near)
    assert len(await far.receive_some()) == 10


async def test_cancellation_ends_an_idle_connection(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server(ROUTES).serve_stream, near)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await far.receive_some() == b""
