"""How annotated Python types look on the wire: what reads them and what writes them, for each format and naming.

What a writer gives, msgspec writes as .NET and JavaScript read it; what .NET and JavaScript write, a reader
takes, after msgspec has read it.
"""

from functools import lru_cache

from cattrs import Converter

from .hooks import Hooks
from .naming import Format, Naming
from .readers import Readers
from .writers import Writers


def converters(format: Format, naming: Naming, converter: Converter | None) -> tuple[Readers, Writers]:
    """What reads and what writes, in one format, under one way of naming, with the hooks of a converter."""
    return _plain(format, naming) if converter is None else _made(format, naming, converter)


@lru_cache
def _plain(format: Format, naming: Naming) -> tuple[Readers, Writers]:
    return _made(format, naming, None)


def _made(format: Format, naming: Naming, converter: Converter | None) -> tuple[Readers, Writers]:
    hooks = Hooks(converter)
    writers = Writers(format, naming, hooks)
    return Readers(format, naming, writers, hooks), writers
