"""The names of channels, which ASP.NET Core's servers have, too."""

import pytest

from trio_hubs.fleet.channels import Channels
from trio_hubs.server.address import Address

CHANNELS = Channels("My.Chat")


@pytest.mark.parametrize(
    ("address", "names"),
    [
        (Address.all(excluded=("a",)), ["My.Chat:all"]),
        (Address.groups("a*", "", "b"), ["My.Chat:group:a*", "My.Chat:group:b"]),
        (Address.users("ann", ""), ["My.Chat:user:ann"]),
        (Address.connections("1", "2"), ["My.Chat:connection:1", "My.Chat:connection:2"]),
    ],
)
def test_where_a_call_is_published(address: Address, names: list[str]) -> None:
    assert CHANNELS.of(address) == names


def test_what_servers_tell_each_other() -> None:
    assert CHANNELS.group_commands == "My.Chat:internal:groups"
    assert CHANNELS.acks("host_1") == "My.Chat:internal:ack:host_1"
    assert CHANNELS.completions("host_1") == "My.Chat:internal:return:host_1"
