"""What differs between any two runs of one server is given a name: ids, in the order in which they come.

JSON gets one notation, since escapes and exponents mean the same however they are written, and all classes of
exceptions get one name. The rest stays as it came.
"""

import json
import re
from decimal import Decimal

import attrs

# The headers by which a client or a cache acts. The others (dates, names of servers, framing) belong to the HTTP stack.
HEADERS = (
    "allow",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-type",
    "expires",
    "location",
    "pragma",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "www-authenticate",
)

# What details are told goes by the class of the exception, and each language has its own. HubException is SignalR's.
_CLASS = re.compile(r"(?<=[.] )(?!HubException)\w+(?:Exception|Error)(?=: )")
_RUN = re.compile(r"(.)\1{99,}")
_ID = re.compile(r"(?<![\w-])[\w-]{22}(?![\w-])", re.ASCII)


@attrs.define
class Names:
    """The ids that a server gave out so far in one case, each with the name it has in the record."""

    _ids: dict[str, str] = attrs.field(factory=dict)
    _asked: dict[str, str] = attrs.field(factory=dict)

    def plain(self, text: str) -> str:
        """The text with a name in place of each id: 22 letters of base64url."""
        for asked, name in self._asked.items():
            text = text.replace(f'"{asked}"', f'"{name}"').replace(f"'{asked}'", f"'{name}'")
        text = _CLASS.sub("<class>", text)
        text = _RUN.sub(lambda found: f"<{len(found[0])} times {found[1]}>", text)
        return _ID.sub(lambda found: self._ids.setdefault(found[0], f"<id {len(self._ids) + 1}>"), text)

    def asked(self, invocation_id: str) -> None:
        """Note the id that a server chose for a call of its own."""
        self._asked.setdefault(invocation_id, f"<call {len(self._asked) + 1}>")


def one_notation(message: str) -> str:
    """A JSON message with each value written in the one way; any other text with its escapes."""
    try:
        values = json.loads(message, parse_float=_number)
    except ValueError:
        return repr(message)
    return json.dumps(
        values, separators=(",", ":"), ensure_ascii=False, default=lambda number: f"number {number}"
    )


def _number(digits: str) -> int | Decimal:
    number = Decimal(digits).normalize()
    return int(number) if number == number.to_integral_value() else number
