"""Names on the wire: how fields and members of enums are called in each format, under each way of naming.

Names that are read match in any letter case and with any underscores, where they are renamed at all.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

Format: TypeAlias = Literal["json", "messagepack"]
Naming: TypeAlias = Literal["python", "dotnet"]


def folded(name: str) -> str:
    """A name without what does not tell it from another."""
    return name.replace("_", "").lower()


def pascal_case(name: str) -> str:
    """A Python name as .NET would write it: ``born_at`` and ``BORN_AT`` are BornAt."""
    parts = name.split("_")
    return "".join(part[:1].upper() + (part[1:].lower() if part.isupper() else part[1:]) for part in parts)


def camel_case(name: str) -> str:
    """A Python name as .NET writes it in JSON: ``born_at`` is bornAt."""
    pascal = pascal_case(name)
    return pascal[:1].lower() + pascal[1:]


RENAMES: dict[tuple[Format, Naming], Callable[[str], str] | None] = {
    ("json", "python"): None,
    ("json", "dotnet"): camel_case,
    ("messagepack", "python"): None,
    ("messagepack", "dotnet"): pascal_case,
}
