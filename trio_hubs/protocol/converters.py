"""How annotated Python types look on the wire: what reads them and what writes them, for each format and naming.

What a writer gives, msgspec writes as .NET and JavaScript read it; what .NET and JavaScript write, a reader
takes, after msgspec has read it.
"""

from functools import lru_cache

from .naming import Format, Naming
from .readers import Readers
from .writers import Writers


@lru_cache
def converters(format: Format, naming: Naming) -> tuple[Readers, Writers]:
    """What reads and what writes, in one format and under one way of naming."""
    writers = Writers(format, naming)
    return Readers(format, naming, writers), writers
