"""Names on the wire: how fields, members of enums and classes are called, in each format.

Names that are read match in any letter case and with any underscores, where they are renamed at all.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import attrs

Format: TypeAlias = Literal["json", "messagepack"]
Rename: TypeAlias = Callable[[str], str]
NamingWord: TypeAlias = Literal["python", "dotnet"]
_Case: TypeAlias = Literal["camel", "pascal", "dotnet"]
_Fields: TypeAlias = Literal["python", _Case]
_Enums: TypeAlias = Literal["value", "name", _Case]


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


_RENAMES: dict[str, Rename] = {"name": str, "camel": camel_case, "pascal": pascal_case}


def _one_of(words: Any) -> Any:
    def check(_: object, field: Any, value: Any) -> None:
        if not callable(value) and value not in get_args(words):
            known = ", ".join(get_args(words))
            raise ValueError(f"{field.name} must be one of {known}, or a function, not {value!r}")

    return check


def _tags(_: object, __: object, tags: Mapping[Any, Any]) -> None:
    for class_, tag in tags.items():
        if not (isinstance(class_, type) and type(tag) in (str, int)):
            raise TypeError(f"tags has classes with texts or numbers, not {class_!r}: {tag!r}")


@attrs.frozen(kw_only=True)
class Naming:
    """How fields, enums and classes are called on the wire: each chosen apart, and alike in both formats.

    ``"python"``, in its place, stands for the defaults, and ``"dotnet"`` for
    ``Naming(fields="dotnet", enums="dotnet")``. Keys of dicts are never renamed.
    """

    fields: _Fields | Rename = attrs.field(default="python", validator=_one_of(_Fields))
    """``"python"`` as they are, ``"camel"``, ``"pascal"``, or what a function makes of each; ``"dotnet"``: .NET's
    defaults, camel in JSON and Pascal in MessagePack."""
    enums: _Enums | Rename = attrs.field(default="value", validator=_one_of(_Enums))
    """By ``"value"``; or by ``"name"`` as it is, ``"camel"``, ``"pascal"``, or as a function makes it; ``"dotnet"``:
    .NET's defaults, numbers in JSON and Pascal names in MessagePack."""
    tags: Mapping[type, str | int] = attrs.field(factory=dict, validator=_tags, hash=False)
    """Classes whose objects say what they are: each is written with its tag, before its fields, and found by it where a
    union or a class that it is made of is expected. As .NET's ``JsonDerivedType``."""
    tag_field: str = "$type"
    """The field that tags stand in."""

    @property
    def dotnet_types(self) -> bool:
        """Whether MessagePack has the types that .NET has for dates and times."""
        return "dotnet" in (self.fields, self.enums)

    def rename(self, format: Format) -> Rename | None:
        """What gives a field its name; None where they are left as they are."""
        return _rename(self.fields, format)

    def rename_member(self, format: Format) -> Rename | None:
        """What gives a member of an enum its name; None where they go by value, also as keys of objects."""
        return _rename("pascal" if self.enums == "dotnet" else self.enums, format)

    def numbers(self, format: Format) -> bool:
        """Whether members of enums that have names are written as numbers."""
        return self.enums == "dotnet" and format == "json"


def _rename(case: str | Rename, format: Format) -> Rename | None:
    if case == "dotnet":
        case = "camel" if format == "json" else "pascal"
    return case if callable(case) else _RENAMES.get(case)


_WORDS: dict[NamingWord, Naming] = {"python": Naming(), "dotnet": Naming(fields="dotnet", enums="dotnet")}


def naming_of(word: NamingWord | Naming) -> Naming:
    """The naming that a word stands for.

    Raises:
        ValueError: It stands for none.
    """
    naming = word if isinstance(word, Naming) else _WORDS.get(word)
    if naming is None:
        raise ValueError(f"naming must be one of {', '.join(_WORDS)}, or a Naming, not {word!r}")
    return naming
