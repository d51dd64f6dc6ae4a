"""The register knows each call by its id until it has ended, and counts what waits and streams."""

from msgspec import Raw

from trio_hubs.calls.call_register import CallRegister, TheirCall
from trio_hubs.calls.methods import Method, Signature

from .support import PROTOCOL, Desk, count_up


class Filing:
    """A register of a desk's, and calls to file."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.idle = 0
        self.register = CallRegister(self.desk.incoming, self.note_idle)

    def note_idle(self) -> None:
        self.idle += 1

    @property
    def unread(self) -> int:
        return self.desk.incoming.reading._unread

    def call(self, id: str, size: int = 0) -> TheirCall:
        method = Method("count", count_up, Signature.of(count_up), PROTOCOL.payloads)
        return TheirCall(id, method, Raw(b"[]"), [], size)


async def test_waiting_calls_come_in_their_order_and_count_until_they_do() -> None:
    filing = Filing()
    first, second = filing.call("1", 10), filing.call("2", 20)
    filing.register.add_waiting(first)
    filing.register.add_waiting(second)
    assert filing.unread == 30
    assert [filing.register.next(), filing.register.next()] == [first, second]
    assert filing.unread == 0
    assert filing.register.unfinished == {first, second}
    assert filing.register.streams == 2


async def test_an_id_is_free_before_its_call_is_answered() -> None:
    filing = Filing()
    call = filing.call("1")
    filing.register.add(call)
    filing.register.forget(call)
    assert filing.register.by_id == {}
    assert filing.register.streams == filing.idle == 0
    filing.register.note_ended(call)
    assert filing.idle == 1


async def test_the_first_call_with_an_id_keeps_it() -> None:
    filing = Filing()
    first, second = filing.call("1"), filing.call("1")
    filing.register.add(first)
    filing.register.add(second)
    filing.register.forget(second)
    assert filing.register.by_id == {"1": first}


async def test_a_call_that_is_dropped_leaves_nothing_behind() -> None:
    filing = Filing()
    call, other = filing.call("1", 10), filing.call("2", 20)
    filing.register.add_waiting(call)
    filing.register.add_waiting(other)
    filing.register.drop(call)
    assert filing.unread == 20
    assert list(filing.register.waiting) == [other]
    filing.register.note_ended(call)
    assert filing.idle == 0
