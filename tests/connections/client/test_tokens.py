"""Access tokens: when they are asked for, and why."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_hubs import NegotiationError, TokenReason
from trio_hubs.connections.client.tokens import AccessToken, Tokens


class Source:
    """Gives the tokens t1, t2 and so on."""

    def __init__(self) -> None:
        self.reasons: list[TokenReason] = []

    def plain(self, reason: TokenReason) -> str:
        self.reasons.append(reason)
        return f"t{len(self.reasons)}"

    async def later(self, reason: TokenReason) -> str:
        await trio.sleep(1)
        return self.plain(reason)


@pytest.mark.parametrize("later", [False, True])
async def test_a_token_is_asked_for_once_a_connection(autojump_clock: MockClock, later: bool) -> None:
    source = Source()
    tokens = Tokens(source.later if later else source.plain)
    assert source.reasons == []
    got: list[str | None] = []

    async def get() -> None:
        got.append(await tokens.get())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(get)
    assert got == ["t1"] * 3
    tokens.forget()
    assert await tokens.get() == "t2"
    assert source.reasons == [TokenReason.FIRST] * 2


async def test_a_refused_token_is_renewed_once_for_all(autojump_clock: MockClock) -> None:
    source = Source()
    tokens = Tokens(source.later)
    token = await tokens.get()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(tokens.renew, token)
    assert await tokens.get() == "t2"
    assert source.reasons == [TokenReason.FIRST, TokenReason.REFUSED]


async def test_the_next_token_is_not_used_before_it_is_said() -> None:
    source = Source()
    tokens = Tokens(source.plain)
    await tokens.get()
    token = await tokens.next()
    assert await tokens.get() == "t1"
    tokens.use(token)
    assert await tokens.get() == "t2"
    assert source.reasons == [TokenReason.FIRST, TokenReason.EXPIRING]


@pytest.mark.parametrize(("source", "token"), [("mine", "mine"), (None, None), ("", "")])
async def test_a_token_that_stands_still(source: AccessToken | None, token: str | None) -> None:
    tokens = Tokens(source)
    tokens.forget()
    assert await tokens.get() == token
    assert not tokens.renewable


@pytest.mark.parametrize("nothing", [None, ""])
async def test_there_need_be_no_token(nothing: str | None) -> None:
    assert await Tokens(lambda _: nothing).get() is None


async def test_a_source_that_fails_says_so() -> None:
    def fail(_: TokenReason) -> str:
        raise KeyError("SECRET")

    with pytest.raises(NegotiationError, match="There is no access token: KeyError") as caught:
        await Tokens(fail).get()
    assert "SECRET" not in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.retriable


@pytest.mark.parametrize("token", ["SECRET ", "SECRET\r\nX: y", "SECRETä"])
async def test_a_token_that_no_header_can_have_is_not_repeated(token: str) -> None:
    with pytest.raises(NegotiationError, match="cannot stand in an HTTP header") as caught:
        await Tokens(lambda _: token).get()
    assert "SECRET" not in str(caught.value)
    assert not caught.value.retriable


@pytest.mark.parametrize("token", ["SECRET ", "SECRET\r\nX: y", "SECRETä", "SECRET\ud800"])
def test_a_fixed_token_that_no_header_can_have_is_refused_at_once(token: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in an HTTP header") as caught:
        Tokens(token)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("token", [7, 0, False, b"SECRET", ["SECRET"]])
async def test_a_source_that_gives_no_text_is_told_so(token: Any, later: bool) -> None:
    async def give(_: TokenReason) -> Any:
        return token

    with pytest.raises(TypeError) as caught:
        await Tokens(give if later else lambda _: token).get()
    assert str(caught.value) == f"what access_token gives must be str, not {type(token).__name__}"


@pytest.mark.parametrize("token", [7, 0, b"SECRET", ["SECRET"]])
def test_a_token_that_is_no_text_is_refused_at_once(token: Any) -> None:
    with pytest.raises(TypeError) as caught:
        Tokens(token)
    assert str(caught.value) == (
        f"access_token must be a text, a function that gives one, or None, not {type(token).__name__}"
    )
