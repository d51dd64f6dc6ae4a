"""URLs and header texts of a client."""

import pytest

from trio_hubs.connections.client.urls import (
    http_url,
    is_header_name,
    is_header_text,
    origin_of,
    user_of,
    with_query,
    without_query,
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://server/hub", "http://server/hub"),
        ("ws://server:7/hub?a=b", "http://server:7/hub?a=b"),
        ("wss://server/hub", "https://server/hub"),
        ("https://ann:secret@server/hub#part", "https://server/hub"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_requests_go_by_http_and_name_no_user(url: str, expected: str) -> None:
    assert http_url(url) == expected


@pytest.mark.parametrize(
    "url", ["", "server/hub", "ftp://server", "http://", "http://server:x", "http://server:0", "http://["]
)
def test_what_is_no_url_of_a_server(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        http_url(url)


@pytest.mark.parametrize(
    ("url", "user"),
    [
        ("http://server", None),
        ("http://ann@server", ("ann", "")),
        ("http://ann:p%40ss:w@server", ("ann", "p@ss:w")),
        ("http://a%3Ab:c@server", ("a:b", "c")),
    ],
)
def test_the_user_of_a_url(url: str, user: tuple[str, str] | None) -> None:
    assert user_of(url) == user


@pytest.mark.parametrize(
    ("one", "other"),
    [("http://server/a", "http://SERVER:80/b"), ("https://server.", "https://server:443/")],
)
def test_the_same_origin_in_other_words(one: str, other: str) -> None:
    assert origin_of(one) == origin_of(other)


@pytest.mark.parametrize("other", ["https://server", "http://server:81", "http://server.other"])
def test_another_origin(other: str) -> None:
    assert origin_of("http://server") != origin_of(other)


@pytest.mark.parametrize(
    ("url", "extended"),
    [
        ("http://server", "http://server/negotiate?v=1"),
        ("http://server/hub/", "http://server/hub/negotiate?v=1"),
        ("http://server/hub?q=%20x", "http://server/hub/negotiate?q=%20x&v=1"),
        ("http://server/hub?v=0", "http://server/hub/negotiate?v=0"),
        ("http://server/hub?sv=0", "http://server/hub/negotiate?sv=0&v=1"),
    ],
)
def test_a_path_and_a_query_are_added_to(url: str, extended: str) -> None:
    assert with_query(url, "/negotiate", v="1") == extended


@pytest.mark.parametrize(
    ("url", "before"),
    [
        ("http://server/hub/negotiate?v=1", "http://server/hub"),
        ("http://server/hub/negotiate?q=%20x&v=1", "http://server/hub?q=%20x"),
        ("http://server/login", None),
    ],
)
def test_and_that_is_undone(url: str, before: str | None) -> None:
    assert without_query(url, "/negotiate", "v") == before


@pytest.mark.parametrize("name", ["", "X Y", "X:", "Ä"])
def test_what_no_header_is_called(name: str) -> None:
    assert not is_header_name(name)


@pytest.mark.parametrize("text", ["a\r\nY: b", "ä", "\0", " a", "a "])
def test_what_no_header_says(text: str) -> None:
    assert not is_header_text(text)


def test_what_headers_are() -> None:
    assert is_header_name("X-Who")
    assert is_header_text("")
    assert is_header_text("a \tb")
