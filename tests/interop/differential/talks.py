"""The shapes that most cases have: some messages on a fresh WebSocket, then an ordinary end, or the server's."""

from collections.abc import Sequence

from .messages import Pack, hello, invoke
from .steps import Case, End, Leave, Next, Read, Send, Step, WebSocket

Message = str | bytes | Pack

LAST: dict[str, Message] = {
    "json": invoke("end", "Echo", "end"),
    "messagepack": Pack([1, {}, "end", "Echo", ["end"], []]),
}


def opening(path: str = "/conformance", protocol: str = "json", on: str = "it") -> tuple[Step, ...]:
    """A WebSocket after a good handshake; other cases have these answers in their records."""
    return (
        WebSocket(path, on=on, quiet=True),
        Send((hello(protocol),), on=on),
        Next(on=on, quiet=True),
    )


def ending(protocol: str = "json", on: str = "it") -> tuple[Step, ...]:
    """A last invocation, answered, and an orderly close: nothing else came, and the connection lived."""
    return Send((LAST[protocol],), on=on), Read(("end",), on=on), Leave(on=on)


def talk(
    id: str, *messages: Message, path: str = "/conformance", protocol: str = "json", until: Sequence[str] = ()
) -> Case:
    """Messages that the connection survives. `until` names the invocations to await before the last one."""
    steps = Send(messages), Read(until), *ending(protocol)
    return Case(id, (*opening(path, protocol), *steps), protocol)


def lost(id: str, *messages: Message, path: str = "/detailed", protocol: str = "json") -> Case:
    """Messages that make the server end the connection."""
    return Case(id, (*opening(path, protocol), Send(messages), End()), protocol)


def both(id: str, *messages: Message, protocol: str = "json", until: Sequence[str] = ()) -> tuple[Case, Case]:
    """Two talks, where the server tells details and where it does not."""
    return (
        talk(id, *messages, protocol=protocol, until=until),
        talk(f"{id}, detailed", *messages, path="/detailed", protocol=protocol, until=until),
    )
