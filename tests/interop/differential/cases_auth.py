"""Who may come in: tokens in headers and queries, at negotiation, at each transport and at a method."""

from .messages import hello, invoke
from .steps import Case, Events, Http, Leave, Negotiate, Next, Polls, Read, Send, WebSocket
from .talks import talk

NEGOTIATION = "/auth/negotiate?negotiateVersion=1"
IT = "/auth?id=<token>"


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The header that carries a token."""
    return (("Authorization", f"Bearer {token}"),)


TOKENS: tuple[tuple[str, tuple[tuple[str, str], ...], str], ...] = (
    ("no token", (), ""),
    ("a token in the header", bearer("ann"), ""),
    ("a token in the query", (), "&access_token=ann"),
    ("a bad token in the header", bearer("bad"), ""),
    ("a bad token in the query", (), "&access_token=bad"),
    ("a bad header beside a good query", bearer("bad"), "&access_token=ann"),
    ("a good header beside a bad query", bearer("ann"), "&access_token=bad"),
    ("another scheme", (("Authorization", "Basic YTpi"),), ""),
    ("an empty token", (), "&access_token="),
)

CASES = (
    *(
        Case(f"auth: negotiate with {name}", (Http("POST", NEGOTIATION + query, headers),))
        for name, headers, query in TOKENS
    ),
    *(
        Case(f"auth: a WebSocket with {name}", (WebSocket(f"/auth?a=b{query}", headers),))
        for name, headers, query in TOKENS
    ),
    *(
        Case(f"auth: {method} without a token", (Http(method, "/auth?id=x"),))
        for method in ("GET", "POST", "DELETE", "PUT")
    ),
    Case("auth: negotiate by GET without a token", (Http("GET", NEGOTIATION),)),
    Case("auth: events without a token", (Http("GET", "/auth?id=x", (("Accept", "text/event-stream"),)),)),
    Case(
        "auth: a bad token where anybody may come", (Http("POST", "/conformance/negotiate", bearer("bad")),)
    ),
    *(
        Case(
            f"auth: {method} without the token that negotiated",
            (Negotiate("/auth", headers=bearer("ann")), Http(method, IT)),
        )
        for method in ("GET", "POST", "DELETE")
    ),
    Case(
        "auth: a poll with the token",
        (Negotiate("/auth", headers=bearer("ann")), Http("GET", IT, bearer("ann"))),
    ),
    *(
        Case(
            f"auth: {method} by another user",
            (
                Negotiate("/auth", headers=bearer("ann")),
                Http("GET", IT, bearer("ann")),
                Http(method, IT, bearer("bob")),
            ),
        )
        for method in ("POST", "DELETE")
    ),
    Case(
        "auth: a poll by another user",
        (
            Negotiate("/auth", headers=bearer("ann")),
            Polls(f"{IT}&access_token=ann"),
            Send((hello(),)),
            Next(),
            Send((invoke("1", "UserId"),)),  # one message, for an answer may stop at the end of any
            Http("GET", IT, bearer("bob")),
        ),
    ),
    *(
        Case(
            f"auth: {method} of {path} by {token or 'nobody'}",
            (
                WebSocket(f"{path}?access_token={token}"),
                Send((hello(), invoke("1", method), invoke(None, method), invoke("end", "UserId"))),
                Read(("end",)),
                Leave(),
            ),
        )
        for path, method, token in (
            ("/auth", "ForUsers", "ann"),
            ("/auth", "ForAdmins", "ann"),
            ("/auth", "ForAdmins", "ann:admin"),
            ("/conformance", "ForUsers", "ann"),
            ("/conformance", "ForUsers", ""),
            ("/conformance", "ForUsers", "bad"),
        )
    ),
    talk("auth: wrong arguments of a method that is not allowed", invoke("1", "ForUsers", 1)),
    talk(
        "auth: a method that is not allowed, as a stream",
        '{"type":4,"invocationId":"1","target":"ForUsers","arguments":[]}\x1e',
    ),
    Case(
        "auth: a user by events",
        (
            Negotiate("/auth", headers=bearer("ann")),
            Events(f"{IT}&access_token=ann"),
            Send((hello(),)),
            Next(),
            Send((invoke("1", "UserId"),)),
            Read(("1",)),
        ),
    ),
    Case(
        "auth: a user by polls",
        (
            Negotiate("/auth", headers=bearer("ann")),
            Polls(f"{IT}&access_token=ann"),
            Send((hello(), invoke("1", "UserId"))),
            Read(("1",)),
        ),
    ),
)
