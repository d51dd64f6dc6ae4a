"""Messages that the tests of both protocols use."""

from msgspec import Raw

from trio_hubs.protocol.hub_protocol import HubProtocol, MessageParser
from trio_hubs.protocol.json_protocol import JsonHubProtocol
from trio_hubs.protocol.messagepack_protocol import MessagePackHubProtocol
from trio_hubs.protocol.messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Credit,
    Invocation,
    Message,
    Ping,
    Sequence,
    StreamInvocation,
    StreamItem,
)

PROTOCOLS: list[type[HubProtocol]] = [JsonHubProtocol, MessagePackHubProtocol]


def every_message(protocol: HubProtocol) -> list[Message]:
    """One message of every shape there is."""
    value = Raw(protocol.payloads.dumper(object)({"a": [1, None, "\x1e\n"]}))
    none = Raw(protocol.payloads.dumper(None)(None))
    arguments = Raw(protocol.payloads.dump_arguments([1, "two", None, [3.5]]))
    return [
        Invocation(target="Foo", arguments=arguments),
        Invocation(target="Foo", arguments=arguments, invocation_id="1", stream_ids=("2", "3")),
        StreamItem("1", value),
        StreamItem("1", none),
        Completion("1"),
        Completion("1", "failed"),
        Completion("1", result=value),
        Completion("1", result=none),
        StreamInvocation("1", "Foo", arguments),
        StreamInvocation("1", "Foo", arguments, ("2",)),
        CancelInvocation("1"),
        Ping(),
        Close(),
        Close("failed"),
        Close("failed", True),
        Close(allow_reconnect=True),
        Ack(42),
        Sequence(2**63 - 1),
        Credit("1", 7),
        Credit("1", 2**63 - 1),
    ]


def parse(parser: MessageParser, data: bytes) -> list[Message]:
    """All messages of some bytes, in one list."""
    return [message for batch in parser.feed(data) for message in batch]


def plain(message: Message) -> tuple[object, ...]:
    """A message in a form that compares by content; undecoded payloads compare by identity."""
    values = [getattr(message, name) for name in message.__struct_fields__]
    return type(message), *(bytes(value) if isinstance(value, Raw) else value for value in values)
