"""Requests and answers as data; names of headers and of query fields match in any letter case."""

import gc
import tracemalloc

import attrs
import pytest

from trio_hubs.connections.http import CaseInsensitive, Request, Response
from trio_hubs.errors import BadRequest


@attrs.frozen
class Point:
    x: int
    y: int


def test_a_name_matches_in_any_letter_case() -> None:
    names = CaseInsensitive([("Content-Type", "text/plain"), ("X", "y")])
    assert names["content-type"] == names["CONTENT-TYPE"] == "text/plain"
    assert "conTent-tYpe" in names
    assert names.get("other") is None
    with pytest.raises(KeyError):
        names["other"]


def test_names_keep_their_first_spelling_and_their_order() -> None:
    names = CaseInsensitive([("B", "1"), ("a", "2"), ("b", "3")])
    assert list(names) == ["B", "a"]
    assert len(names) == 2
    assert repr(names) == "CaseInsensitive({'B': '1,3', 'a': '2'})"


def test_a_repeated_name_is_one_text_with_commas() -> None:
    assert CaseInsensitive([("id", "1"), ("ID", "2"), ("Id", "3")])["id"] == "1,2,3"


def test_cookies_of_several_lines_are_one_text_with_semicolons() -> None:
    headers = [(b"cookie", b"a=1"), (b"accept", b"*/*"), (b"Cookie", b"b=2; c=3"), (b"accept", b"text/html")]
    request = Request.parse(b"GET", b"/?cookie=1&cookie=2", headers)
    assert request.headers["Cookie"] == "a=1; b=2; c=3"
    assert request.headers["Accept"] == "*/*,text/html"
    assert request.query["cookie"] == "1,2"


@pytest.mark.parametrize("text", ["", "\0", "\n", "a" * 100_000, "\u00e4\U0001f600"])
def test_names_and_texts_are_kept_as_they_are(text: str) -> None:
    assert CaseInsensitive([(text, text), ("x", text)])[text] == text
    assert CaseInsensitive([("x", text)])["X"] == text


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert CaseInsensitive([("a", "x\ud800y"), ("b", "z")]) == {"a": "x?y", "b": "z"}


def test_thousands_of_tiny_fields_are_small() -> None:
    target = b"/?" + b"&".join(b"%x" % i for i in range(3500))
    headers = [(b"%x" % i, b"") for i in range(3500)]
    tracemalloc.start()
    request = Request.parse(b"GET", target, headers)
    assert request.query["dAb"] == request.headers["DaB"] == ""
    assert len(request.query) == len(request.headers) == 3500
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 64 * 1024


def test_nothing_is_an_empty_mapping() -> None:
    assert dict(CaseInsensitive()) == {}
    assert Request() == Request(method="GET", path="/", body=b"")


def test_a_request_of_its_raw_parts() -> None:
    request = Request.parse(
        b"post",
        b"/a%20b/%C3%A4?Name=M%C3%BCller&empty=&plus=1+1&name=x",
        [(b"accept", b"text/html"), (b"x-latin", b"\xe4"), (b"Accept", b"*/*")],
        b"body",
    )
    assert request.method == "POST"
    assert request.path == "/a b/ä"
    assert request.raw_query == "Name=M%C3%BCller&empty=&plus=1+1&name=x"
    assert request.query["NAME"] == "Müller,x"
    assert request.query["empty"] == ""
    assert request.query["plus"] == "1 1"
    assert request.headers["Accept"] == "text/html,*/*"
    assert request.headers["X-Latin"] == "ä"
    assert request.body == b"body"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", "/"),
        (b"http://example/chat?id=1", "/chat"),
        (b"/%ff", "/\ufffd"),
        (b"/chat#part", "/chat#part"),
        (b"//x/chat", "//x/chat"),
        (b"/chat%2Fnegotiate", "/chat%2Fnegotiate"),
    ],
)
def test_a_target_has_a_path(target: bytes, path: str) -> None:
    assert Request.parse(b"GET", target, ()).path == path


def test_the_name_that_the_client_calls_the_server_by() -> None:
    assert Request(headers={"host": "example:8000"}).host == "example:8000"
    assert Request(headers={"host": "inner"}, host="example").host == "example"
    assert Request().host == ""


@pytest.mark.parametrize(
    ("text", "cookies"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1; b=2;c=3 ;", {"a": "1", "b": "2", "c": "3"}),
        ("a=1; A=2; a=3", {"a": "1", "A": "2"}),  # the first one has the closest path
        ('a="x y"; b="; c="', {"a": "x y", "b": '"', "c": '"'}),
        ("a=b=c; =x; y; z=", {"a": "b=c", "y": "", "z": ""}),
        ("a=%C3%A4; b=\u00e4", {"a": "%C3%A4", "b": "\u00e4"}),
        ("bad name=1; [x]=2; {}=3; good=4", {"bad name": "1", "[x]": "2", "{}": "3", "good": "4"}),
        ("a;b;;c ; ;d=", {"a": "", "b": "", "c": "", "d": ""}),
    ],
)
def test_cookies_are_taken_apart_one_by_one(text: str, cookies: dict[str, str]) -> None:
    assert Request(headers={"cookie": text}).cookies == cookies


@pytest.mark.parametrize(
    ("body", "value"), [(b'{"a": [1, null]}', {"a": [1, None]}), (b"1", 1), (b' "x" ', "x")]
)
def test_a_body_in_json(body: bytes, value: object) -> None:
    assert Request(body=body).json() == value


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"{'a': 1}", b"1 2", b"NaN", b"[" * 60_000], ids=lambda body: body[:8]
)
def test_a_body_that_is_no_json(body: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^The body is no JSON: "):
        Request(body=body).json()


def test_an_answer_in_json() -> None:
    assert Response.json({"a": [1, None]}).body == b'{"a":[1,null]}'
    assert Response.json("x").content_type == "application/json"
    assert Response.json(Point(1, 2), status=201, headers={"X": "y"}) == Response(
        '{"x":1,"y":2}', status=201, content_type="application/json", headers={"X": "y"}
    )
    with pytest.raises(TypeError, match="unsupported"):
        Response.json(object())


def test_text_is_answered_as_utf_8() -> None:
    assert Response("ä").body == b"\xc3\xa4"
    assert Response("ä").content_type == "text/plain; charset=utf-8"
    assert Response(b"\xe4", status=404).body == b"\xe4"
    assert Response() == Response(b"", status=200, headers={})


@pytest.mark.parametrize("body", [{"a": 1}, None, 5, ["text"], bytearray(b"x")])
def test_an_answer_of_anything_else_is_an_error_where_it_is_written(body: object) -> None:
    with pytest.raises(TypeError, match=f"text or bytes, and no {type(body).__name__}"):
        Response(body)  # type: ignore[arg-type]


def test_requests_and_answers_do_not_change() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Request().path = "/other"  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Response().status = 404  # type: ignore[misc]


@pytest.mark.parametrize(
    ("header", "query", "token"),
    [
        ("Bearer abc", None, "abc"),
        ("bearer  abc ", None, "abc"),
        ("BEARER a.b-c_d=", None, "a.b-c_d="),
        (None, "abc", "abc"),
        ("Bearer abc", "other", "abc"),
        ("Bearer", "other", None),  # a header that says nothing is not helped out
        ("Basic abc", "other", "other"),
        ("Basic abc", None, None),
        ("Bearerabc", None, None),
        ("", None, None),
        (None, "", None),
        (None, None, None),
    ],
)
def test_a_token_is_in_the_header_or_in_the_query(
    header: str | None, query: str | None, token: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    fields = {} if query is None else {"ACCESS_TOKEN": query}
    request = Request(headers=CaseInsensitive(headers.items()), query=CaseInsensitive(fields.items()))
    assert request.bearer_token == token
