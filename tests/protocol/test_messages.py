"""The messages as data."""

import msgspec
import pytest
from msgspec import UNSET, Raw

from trio_hubs.protocol.json_protocol import JsonHubProtocol
from trio_hubs.protocol.messages import Close, Completion, Invocation, Message, Ping, StreamInvocation

from .samples import every_message, plain


def test_a_completion_has_an_error_or_a_result() -> None:
    with pytest.raises(ValueError, match="mutually exclusive"):
        Completion("1", "failed", Raw(b"1"))
    assert Completion("1", result=Raw(b"null")).has_result
    assert not Completion("1").has_result
    assert not Completion("1", "failed").has_result


def test_what_is_not_said() -> None:
    call = Invocation(target="T", arguments=Raw(b"[]"))
    assert (call.invocation_id, call.stream_ids, call.headers) == ("", (), UNSET)
    assert StreamInvocation("1", "T", Raw(b"[]")).stream_ids == ()
    assert Close() == Close(error="", allow_reconnect=False)


def test_messages_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Close().error = "late"  # type: ignore[misc]


def test_each_class_is_its_own_schema() -> None:
    for message in every_message(JsonHubProtocol()):
        back: Message = msgspec.json.decode(msgspec.json.encode(message), type=Message)
        assert plain(back) == plain(message)
    assert msgspec.json.encode(Ping()) == b'{"type":6}'
