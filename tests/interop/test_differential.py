"""The real server and ours, asked the same: the answers are the same, up to ids and times, or they differ as stated."""

import pytest
import trio

from .differential.cases import CASES
from .differential.differences import DIFFERENCES
from .differential.exchange import play
from .differential.steps import Case

pytestmark = pytest.mark.interop

CASE_OF = {case.id: case for case in CASES}


def test_cases_are_many_and_have_names_of_their_own() -> None:
    assert len(CASE_OF) == len(CASES) > 220
    assert DIFFERENCES.keys() <= CASE_OF.keys()


@pytest.mark.parametrize("id", CASE_OF)
async def test_ours_answers_as_the_real_server_does(
    id: str, dotnet_server: str, conformance_server: str
) -> None:
    records: dict[str, str] = {}

    async def ask(who: str, address: str, case: Case) -> None:
        records[who] = await play(address, case)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "theirs", dotnet_server, CASE_OF[id])
        nursery.start_soon(ask, "ours", conformance_server, CASE_OF[id])
    if difference := DIFFERENCES.get(id):
        assert records["ours"] != records["theirs"], f"gone: {difference.reason}"
        assert records["ours"] == difference.applied_to(records["theirs"]), difference.reason
    else:
        assert records["ours"] == records["theirs"]
