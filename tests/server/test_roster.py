"""A call of clients is encoded once for each protocol, whoever asks."""

import pytest

from trio_hubs import BindingError
from trio_hubs.protocol.json_protocol import JsonHubProtocol
from trio_hubs.protocol.messagepack_protocol import MessagePackHubProtocol
from trio_hubs.protocol.messages import Invocation
from trio_hubs.server.roster import ClientCall


def test_it_is_encoded_once_for_each_protocol() -> None:
    json, messagepack = JsonHubProtocol(), MessagePackHubProtocol()
    call = ClientCall("Told", (1, "x"))
    assert call.encoded(json) == b'{"type":1,"target":"Told","arguments":[1,"x"]}\x1e'
    assert call.encoded(json) is call.encoded(json)
    ((message,),) = messagepack.parser(None).feed(call.encoded(messagepack))
    assert isinstance(message, Invocation)
    assert message.target == "Told"


def test_what_cannot_be_encoded_is_told_each_time() -> None:
    call = ClientCall("Told", (object(),))
    for _ in range(2):
        with pytest.raises(BindingError):
            call.encoded(JsonHubProtocol())
