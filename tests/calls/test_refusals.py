"""Each kind of refusal has a text on each side that it can come to, in the words of that side only."""

from typing import Any

import attrs
import pytest

from trio_hubs.calls.refusals import Refusal, UploadCancelled, UploadFailed
from trio_hubs.client import texts as client_texts
from trio_hubs.server import texts as server_texts

EXAMPLES: dict[str, Any] = {
    "target": "Method",
    "error": ValueError("broken"),
    "streaming": True,
    "brought": 1,
    "taken": 2,
    "id": "7",
    "maximum": 3,
}
"""A value for each field of a refusal."""


def example(kind: type[Any]) -> Refusal:
    refusal: Refusal = kind(*[EXAMPLES[field.name] for field in attrs.fields(kind)])
    return refusal


def server_text(refusal: Refusal) -> str:
    return server_texts.refused(refusal, lambda text, error: f"{text} {error}")


@pytest.mark.parametrize("kind", Refusal.__subclasses__())
def test_each_side_has_words_of_its_own(kind: type[Refusal]) -> None:
    refusal = example(kind)
    assert client_texts.refused(refusal)
    assert "on the server" not in client_texts.refused(refusal)
    if kind in (UploadCancelled, UploadFailed):  # servers do not upload
        with pytest.raises(kind):
            server_text(refusal)
    else:
        assert server_text(refusal)
        assert "Stream errored by client" not in server_text(refusal)
