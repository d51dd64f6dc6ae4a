"""Whose a connection is, and from where: others' posts, others' pages, refused and later looks at a user."""

from .cases_auth import IT, bearer
from .messages import hello, invoke
from .steps import Case, Events, Http, Learn, Leave, Negotiate, Next, Polls, Read, Send, WebSocket
from .talks import opening

OPEN = "/conformance?id=<token>"
ACCEPT = (("Accept", "text/event-stream"),)
CALL = hello() + invoke("1", "UserId")
FOREIGN = (("Origin", "https://evil.example"),)

PAGES: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("an image of another site", (("Sec-Fetch-Site", "cross-site"),)),
    ("an image of a neighbour", (("Sec-Fetch-Site", "same-site"),)),
    ("an old browser's image", (("Referer", "https://evil.example/page"),)),
    ("a script of its own", (("Sec-Fetch-Site", "same-origin"),)),
    ("a user who types it", (("Sec-Fetch-Site", "none"),)),
    ("another site's script", FOREIGN),
    ("a page without an origin", (("Origin", "null"),)),
)

CASES = (
    Case(
        "owner: a post before the transport by the same user",
        (
            Negotiate("/auth", headers=bearer("ann")),
            Http("POST", IT, bearer("ann"), hello()),
            Events(f"{IT}&access_token=ann"),
            Next(),
            Send((invoke("1", "UserId"),)),
            Read(("1",)),
        ),
    ),
    *(
        Case(
            f"owner: nobody's post before {who} by events",
            (
                Negotiate(),
                Http("POST", OPEN, body=CALL),
                Events(f"{OPEN}{query}"),
                *((Read(("1",)),) if not query else ()),
            ),
        )
        for who, query in (("nobody comes", ""), ("a user comes", "&access_token=ann"))
    ),
    *(
        Case(
            f"owner: nobody's post before {who} by polls",
            (Negotiate(), Http("POST", OPEN, body=CALL), Http("GET", f"{OPEN}{query}")),
        )
        for who, query in (("nobody comes", ""), ("a user comes", "&access_token=ann"))
    ),
    Case(
        "owner: who negotiated as nobody may come as somebody",
        (
            Negotiate(),
            Polls(f"{OPEN}&access_token=ann"),
            Send((hello(), invoke("1", "UserId"))),
            Read(("1",)),
        ),
    ),
    Case(
        "owner: a refused request changes nothing of the user",
        (
            Negotiate("/auth", headers=bearer("ann")),
            Polls(f"{IT}&access_token=ann"),
            Send((hello(),)),
            Next(),
            Http("GET", IT, (*ACCEPT, *bearer("ann:admin"))),
            Http("PUT", IT, bearer("ann:admin")),
            Send((invoke("1", "ForAdmins"), invoke("2", "UserId"))),
            Read(("1", "2")),
        ),
    ),
    Case(
        "owner: a poll with other claims changes nothing of the hub's user",
        (
            Negotiate("/auth", headers=bearer("ann")),
            Polls(f"{IT}&access_token=ann"),
            Send((hello(),)),
            Http("GET", IT, bearer("ann:admin")),
            Send((invoke("1", "ForAdmins"), invoke("2", "UserId"))),
            Read(("1", "2")),
        ),
    ),
    *(
        Case(
            f"owner: {method} with the public id of a WebSocket without negotiation",
            (
                *opening(),
                Send((invoke("1", "ConnectionId"),)),
                Learn(),
                Http(method, "/conformance?id=<id>", headers),
                Send((invoke("2", "Add", 40, 2),)),
                Read(("2",)),
                Leave(),
            ),
        )
        for method, headers in (("GET", ()), ("POST", ()), ("DELETE", ()))
    ),
    Case("refresh: not offered", (Negotiate(), Http("POST", "/conformance/refresh?id=<token>"))),
    *(Case(f"page: a poll by {who}", (Negotiate(), Http("GET", OPEN, headers))) for who, headers in PAGES),
    *(
        Case(f"page: events by {who}", (Negotiate(), Events(OPEN, (*ACCEPT, *headers))))
        for who, headers in PAGES
    ),
    *(Case(f"page: a WebSocket by {who}", (WebSocket("/conformance", headers),)) for who, headers in PAGES),
    *(
        Case(f"page: negotiate by {who}", (Http("POST", "/conformance/negotiate", headers),))
        for who, headers in PAGES
    ),
)
