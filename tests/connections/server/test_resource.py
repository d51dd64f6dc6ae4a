"""Each method of a path has its handler; what there is besides is told, and who may not come in learns nothing."""

from collections.abc import Mapping
from datetime import date
from enum import Enum
from typing import Any, Literal
from uuid import UUID

import pytest
import trio

from trio_hubs.connections.http import Request, Response
from trio_hubs.connections.server.exchange import MAXIMUM_BODY_SIZE
from trio_hubs.connections.server.gate import Gate
from trio_hubs.connections.server.origins import Origins
from trio_hubs.connections.server.resource import Handler, Resource, RouteHandler
from trio_hubs.connections.server.router import Pattern, Router
from trio_hubs.connections.users import Policy, User
from trio_hubs.errors import BadRequest

ANN = User("ann")
THERE = {"host": "here.example", "origin": "https://there.example"}
OPEN = Origins(frozenset((THERE["origin"],)), check_gets=False)


class Colour(Enum):
    RED = "red"


def handler(
    call: RouteHandler,
    path: str = "/",
    *,
    user: User | None = None,
    policies: tuple[Policy, ...] = (),
    origins: Origins = OPEN,
    **more: Any,
) -> Handler:
    return Handler(
        call, Pattern.parse(path), gate=Gate(origins, lambda _: user, policies), hall=Gate(origins), **more
    )


def say(text: str) -> RouteHandler:
    return lambda request: Response(f"{text} {request.method}")


async def ask(
    place: Resource,
    path: str = "/",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    at: str = "/",
) -> Response:
    router = Router()
    router.add({at: place})
    request, route = router.find(Request(method=method, path=path, headers=headers or {}))
    assert route is not None
    answer = await route.answer(request)
    assert isinstance(answer, Response)
    return answer


def items() -> Resource:
    place = Resource("/")
    place.add(["GET"], handler(say("list")))
    place.add(["post", "PUT"], handler(say("change"), policies=(lambda _: True,)))
    return place


# ---- methods


@pytest.mark.parametrize(
    ("method", "status", "text"),
    [
        ("GET", 200, "list GET"),
        ("HEAD", 200, "list HEAD"),
        ("POST", 401, ""),
        ("DELETE", 405, ""),
        ("STRANGE", 405, ""),
        ("OPTIONS", 204, ""),
    ],
)
async def test_a_method_has_its_handler(method: str, status: int, text: str) -> None:
    answer = await ask(items(), method=method)
    assert (answer.status, answer.body.decode()) == (status, text)
    if status in (204, 405):
        assert answer.headers == {"Allow": "GET, POST, PUT, HEAD, OPTIONS"}


async def test_head_may_have_a_handler_of_its_own_and_without_get_there_is_none() -> None:
    place = Resource("/")
    place.add(["HEAD"], handler(say("head")))
    place.add(["GET"], handler(say("get")))
    assert (await ask(place, method="HEAD")).body == b"head HEAD"
    assert (await ask(place, method="PUT")).headers == {"Allow": "HEAD, GET, OPTIONS"}
    place = Resource("/")
    place.add(["POST"], handler(say("post")))
    assert (await ask(place, method="HEAD")).status == 405
    assert (await ask(place, method="PUT")).headers == {"Allow": "POST, OPTIONS"}


@pytest.mark.parametrize(
    ("methods", "fault"),
    [
        ([], "has no methods"),
        (["OPTIONS"], "'OPTIONS' is no method that a handler can have"),
        (["CONNECT"], "'CONNECT' is no method"),
        (["*"], r"'\*' is no method"),
        (["GE T"], "'GE T' is no method"),
        (["DELETE", "get"], "there is something at '/' already, for GET"),
    ],
)
def test_methods_that_cannot_be(methods: list[str], fault: str) -> None:
    place = items()
    with pytest.raises(ValueError, match=fault):
        place.add(methods, handler(say("again")))
    assert "DELETE" not in place._handlers


def test_one_method_is_no_collection_of_them() -> None:
    with pytest.raises(TypeError, match=r"such as \['GET'\], not one"):
        Resource("/").add("GET", handler(say("x")))


# ---- who may come in


async def test_foreign_pages_get_nothing() -> None:
    evil = {"host": "here.example", "origin": "https://evil.example"}
    for method in ("GET", "POST", "OPTIONS", "DELETE"):
        answer = await ask(items(), method=method, headers=evil)
        assert (answer.status, "Allow" in answer.headers) == (403, False)


async def test_but_may_link_here() -> None:
    link = {"host": "here.example", "sec-fetch-site": "cross-site", "referer": "https://evil.example/"}
    assert (await ask(items(), headers=link)).body == b"list GET"


async def test_an_allowed_page_may_ask_beforehand_of_each_method() -> None:
    for method in ("POST", "GET", "DELETE", "post"):
        preflight = {**THERE, "access-control-request-method": method}
        answer = await ask(items(), method="OPTIONS", headers=preflight)
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST, PUT, HEAD, OPTIONS"
        assert answer.headers["Access-Control-Allow-Origin"] == THERE["origin"]


async def test_each_handler_says_whose_pages_may_come() -> None:
    place = Resource("/")
    place.add(["GET"], handler(say("get"), origins=Origins(frozenset())))
    place.add(["POST"], handler(say("post")))
    asking = {**THERE, "access-control-request-method": "POST"}
    assert (await ask(place, method="OPTIONS", headers=asking)).status == 204
    assert (await ask(place, method="POST", headers=THERE)).status == 200
    assert (
        await ask(place, method="OPTIONS", headers={**asking, "access-control-request-method": "GET"})
    ).status == 403
    assert (await ask(place, headers=THERE)).status == 403


async def test_a_handler_knows_the_user() -> None:
    seen: list[User | None] = []

    async def note(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        seen.append(request.user)
        return Response()

    place = Resource("/")
    place.add(["GET"], handler(note, user=ANN, policies=(lambda user: user.id == "ann",)))
    place.add(["POST"], handler(note, user=ANN, policies=(lambda user: user.id == "bob",)))
    place.add(["PUT"], handler(note))
    assert [(await ask(place, method=method)).status for method in ("GET", "POST", "PUT")] == [200, 403, 200]
    assert seen == [ANN, None]


# ---- parameters


async def answered(call: RouteHandler, at: str, path: str, **more: Any) -> tuple[int, str]:
    place = Resource(at)
    place.add(["GET"], handler(call, at, **more))
    answer = await ask(place, path, at=at)
    return answer.status, answer.body.decode()


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "5", 5),
        (int, "-5", -5),
        (int, "x", None),
        (int, "5.5", None),
        (int, "", None),
        (int, "9" * 5000, None),
        (int, "\u0665", None),
        (float, "5.5", 5.5),
        (str, "5", "5"),
        (Any, "5", "5"),
        (bool, "true", True),
        (bool, "maybe", None),
        (int | str, "x", "x"),
        (UUID, "00000000-0000-0000-0000-000000000001", UUID(int=1)),
        (UUID, "1", None),
        (date, "2028-11-26", date(2028, 11, 26)),
        (Colour, "red", Colour.RED),
        (Colour, "blue", None),
        (Literal["a", "b"], "a", "a"),
        (Literal["a", "b"], "c", None),
    ],
)
async def test_a_parameter_is_what_the_handler_takes(kind: Any, text: str, value: object) -> None:
    seen: list[object] = []

    def note(request: Request, item: Any) -> Response:
        seen.append(item)
        return Response("done")

    note.__annotations__["item"] = kind
    status, body = await answered(note, "/{item:path}", f"/{text}")
    if value is None:
        assert (status, body) == (404, f"Nothing is served at /{text}")
    else:
        assert (status, seen, type(seen[0])) == (200, [value], type(value))


async def test_an_encoded_slash_is_one_in_a_segment() -> None:
    def tell(_: Request, **values: str) -> Response:
        return Response(repr(values))

    assert await answered(tell, "/{a}/{b:path}", "/x%2Fy/z%2F1/2") == (200, "{'a': 'x/y', 'b': 'z%2F1/2'}")


async def test_nobody_learns_what_a_path_takes() -> None:
    def tell(_: Request, number: int) -> Response:
        raise AssertionError

    assert (await answered(tell, "/{number}", "/x", policies=(lambda _: True,)))[0] == 401


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (lambda _: None, "got an unexpected keyword argument 'name'"),
        (lambda: None, "too many positional arguments"),
        (lambda _, name, more: (name, more), "missing a required argument: 'more'"),
        (lambda name: name, "multiple values for argument 'name'"),
    ],
)
def test_a_handler_takes_the_parameters_of_its_path(call: Any, fault: str) -> None:
    with pytest.raises(TypeError, match=rf"the handler of '/\{{name\}}' cannot be called .*{fault}"):
        handler(call, "/{name}")


def test_a_type_that_is_unknown_or_impossible_is_an_error_at_once() -> None:
    def unknown(request: Request, name: Any) -> Response:
        raise AssertionError

    unknown.__annotations__["name"] = "Missing"
    with pytest.raises(TypeError, match="'Missing' is not defined"):
        handler(unknown, "/{name}")
    unknown.__annotations__["name"] = int | float | bytes | str
    with pytest.raises(TypeError, match=r"'name' of '/\{name\}' cannot be read as"):
        handler(unknown, "/{name}")


# ---- bodies and faults


def test_a_body_has_the_handlers_limit() -> None:
    place = Resource("/")
    place.add(["GET"], handler(say("get")))
    place.add(["POST"], handler(say("post"), maximum_body_size=1 << 20))
    for method, size in (("GET", MAXIMUM_BODY_SIZE), ("POST", 1 << 20), ("PUT", MAXIMUM_BODY_SIZE)):
        assert place.find(Request(method=method), ()).maximum_body_size == size
    with pytest.raises(ValueError, match="must not be below 0"):
        handler(say("x"), maximum_body_size=-1)


async def test_a_body_that_is_no_json_is_the_clients_fault(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    status, text = await answered(lambda request: Response.json(request.json()), "/", "/")
    assert (status, text.startswith("The body is no JSON")) == (400, True)
    assert [record.levelname for record in caplog.records] == ["INFO"]


async def test_what_a_handler_raises_is_not_caught_here() -> None:
    def fail(_: Request) -> Response:
        raise ZeroDivisionError

    async def refuse(_: Request) -> Response:
        raise BadRequest("No such thing.")

    with pytest.raises(ZeroDivisionError):
        await answered(fail, "/", "/")
    assert await answered(refuse, "/", "/") == (400, "No such thing.")


async def test_whatever_the_types_say_a_handler_gives_a_response() -> None:
    def wrong(_: Request) -> Any:
        return {"a": 1}

    with pytest.raises(
        TypeError, match=r"the handler of '/a' gave a dict: give a Response, such as Response\.json"
    ):
        await answered(wrong, "/a", "/a")


def test_a_handler_can_be_called() -> None:
    with pytest.raises(TypeError, match="a route's handler is called with each request"):
        handler("hello")  # type: ignore[arg-type]


def test_a_handler_that_does_not_take_the_request_alone_is_refused() -> None:
    def none() -> Response:
        raise NotImplementedError

    def two(request: Request, more: int) -> Response:
        raise NotImplementedError

    for wrong in (none, two):
        given: Any = wrong
        with pytest.raises(TypeError, match=r"^the handler of '/plain' cannot be called with the request: "):
            handler(given, "/plain")
