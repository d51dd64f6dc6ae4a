"""Paths are found as they are, then by the closest pattern; what matches the same is at one place."""

import time
from collections.abc import Mapping

import pytest

from trio_hubs.connections.http import Request, Response
from trio_hubs.connections.server.exchange import Route
from trio_hubs.connections.server.router import FixedPlace, Pattern, Place, Router


async def answer(request: Request) -> Response:
    return Response()


class Noting:
    """A place that notes what the parameters stood for."""

    def __init__(self) -> None:
        self.values: list[tuple[str, ...]] = []
        self.route = Route(answer)

    def find(self, request: Request, values: tuple[str, ...]) -> Route:
        self.values.append(values)
        return self.route


def router_of(*paths: str) -> tuple[Router, Mapping[str, Noting]]:
    router = Router()
    places = {path: Noting() for path in paths}
    router.add(places)
    return router, places


@pytest.mark.parametrize(
    ("path", "found", "values"),
    [
        ("/", "/", ()),
        ("/rooms", "/rooms", ()),
        ("/rooms/new", "/rooms/new", ()),
        ("/rooms/a", "/rooms/{room}", ("a",)),
        ("/rooms/a b\nc", "/rooms/{room}", ("a b\nc",)),
        ("/rooms/a%2Fb", "/rooms/{room}", ("a%2Fb",)),
        ("/rooms/", "/{rest:path}", ("rooms/",)),
        ("/rooms/a/", "/rooms/{room}/{rest:path}", ("a", "")),
        ("/rooms/a/members", "/rooms/{room}/members", ("a",)),
        ("/rooms/new/members", "/rooms/{room}/members", ("new",)),
        ("/rooms/a/members/b", "/rooms/{room}/members/{name}", ("a", "b")),
        ("/rooms/a/members/b/c", "/rooms/{room}/{rest:path}", ("a", "members/b/c")),
        ("/a/b", "/{kind}/{id}", ("a", "b")),
        ("//b", "/{rest:path}", ("/b",)),
        ("/static/", "/static/{file:path}", ("",)),
        ("/static/a/../b", "/static/{file:path}", ("a/../b",)),
        ("/static", "/{rest:path}", ("static",)),
        ("/a.b", "/a.b", ()),
        ("/axb", "/{rest:path}", ("axb",)),
    ],
)
def test_the_closest_place_is_found(path: str, found: str, values: tuple[str, ...]) -> None:
    router, places = router_of(
        "/{rest:path}",
        "/{kind}/{id}",
        "/rooms/{room}/{rest:path}",
        "/rooms/{room}/members/{name}",
        "/rooms/{room}/members",
        "/rooms/{room}",
        "/rooms/new",
        "/rooms",
        "/static/{file:path}",
        "/a.b",
        "/",
    )
    request = Request(path=path)
    assert router.find(request) == (request, places[found].route)
    assert places[found].values == [values]


@pytest.mark.parametrize("path", ["", "*", "/rooms", "/rooms/", "/rooms/a/b", "rooms/a"])
def test_elsewhere_is_nothing(path: str) -> None:
    router, _ = router_of("/rooms/{room}", "/a")
    assert router.find(Request(path=path))[1] is None


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("", "a path starts with '/'"),
        ("rooms", "a path starts with '/'"),
        ("http://example/rooms", "a path starts with '/'"),
        ("/rooms?a=1", "a path has no query"),
        ("/{", "a parameter is a whole segment"),
        ("/}", "a parameter is a whole segment"),
        ("/{}", "a parameter is a whole segment"),
        ("/{1}", "a parameter is a whole segment"),
        ("/{a b}", "a parameter is a whole segment"),
        ("/{a:int}", "a parameter is a whole segment"),
        ("/{a}.json", "a parameter is a whole segment"),
        ("/{a}{b}", "a parameter is a whole segment"),
        ("/{a:path}/b", "nothing can come behind '{a:path}'"),
        ("/{a}/{a}", "two parameters of '/{a}/{a}' have one name"),
    ],
)
def test_what_is_no_path_is_refused(path: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Pattern.parse(path)


@pytest.mark.parametrize(
    ("path", "same"), [("/a", "/a"), ("/{a}", "/{b}"), ("/a/{b:path}", "/a/{c:path}"), ("/{a}/b", "/{x}/b")]
)
def test_what_matches_the_same_is_one_place(path: str, same: str) -> None:
    router, places = router_of(path)
    assert router.get(Pattern.parse(same)) is places[path]
    with pytest.raises(ValueError, match="there is something at"):
        router.add({"/other": Noting(), same: Noting()})
    assert router.find(Request(path="/other"))[1] is None or path == "/{a}"


def test_a_pattern_never_has_to_try_twice() -> None:
    router, _ = router_of("/{a}/{b}/{c}/{d}/end", "/x/{a}/{b}/{c}/end", "/x/{a}/{b}/end/{rest:path}")
    began = time.perf_counter()
    for path in ("/" + "x/" * 8000, "/x/" + "a" * 16_000, "/x/" + "/" * 16_000):
        assert router.find(Request(path=path))[1] is None
    assert time.perf_counter() - began < 1


def test_a_fixed_place_has_one_route_for_all() -> None:
    place: Place = FixedPlace(route := Route(answer))
    assert place.find(Request(method="POST"), ()) is place.find(Request(), ()) is route


def test_a_fallback_answers_where_there_is_no_place() -> None:
    router, _ = router_of("/a")
    router.fallback = Route(answer)
    assert router.find(Request(path="/a"))[1] is not router.fallback
    assert router.find(Request(path="/b"))[1] is router.fallback
