"""A hub's methods for one protocol: which of them are guarded, and which need a task."""

import pytest

from trio_hubs import Hub, authorize
from trio_hubs.protocol.json_protocol import JsonHubProtocol
from trio_hubs.server.method_table import MethodTable


class Mixed(Hub):
    """Has a guarded method and one for everybody."""

    def free(self) -> None: ...

    @authorize
    def kept(self) -> None: ...


class Renewing(Hub):
    """Hears of renewed users."""

    async def on_authentication_refreshed(self) -> None: ...


@pytest.mark.parametrize(("filtered", "guarded"), [(False, {"kept"}), (True, {"free", "kept"})])
def test_guarded_methods_are_those_with_policies_or_all_behind_filters(
    filtered: bool, guarded: set[str]
) -> None:
    table = MethodTable.of(Mixed, JsonHubProtocol(), filtered=filtered)
    assert set(table.methods) == {"free", "kept"}
    assert {name for name, method in table.methods.items() if method in table.guarded} == guarded
    assert {name for name, method in table.methods.items() if not method.inline} == guarded
    assert len(table.guarded[table.methods["kept"]]) == 1


@pytest.mark.parametrize(("hub", "hears"), [(Mixed, False), (Renewing, True)])
def test_only_a_hub_that_wants_to_hears_of_renewed_users(hub: type[Hub], hears: bool) -> None:
    assert (MethodTable.of(hub, JsonHubProtocol(), filtered=False).refreshed is not None) is hears
