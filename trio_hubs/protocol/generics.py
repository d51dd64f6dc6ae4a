"""Generic classes: the arguments of their parameters, those of their bases too.

Each class has its own parameters; the same variable in two bases may stand for two types.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias, TypeVar, get_args, get_origin

from typing_extensions import NoDefault, get_original_bases

Arguments: TypeAlias = Mapping[Any, Any]


def arguments_of(type_: Any) -> dict[type, Arguments]:
    """What stands for the parameters of a class, and of each of its bases."""
    found: dict[type, Arguments] = {}

    def visit(alias: Any, outer: Arguments) -> None:
        origin = get_origin(alias) or alias
        if not isinstance(origin, type) or origin in found:
            return
        arguments = [filled(argument, outer) for argument in get_args(alias)]
        own = found[origin] = dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False))
        for base in get_original_bases(origin):
            visit(base, own)

    visit(type_, {})
    return found


def filled(annotation: Any, arguments: Arguments) -> Any:
    """An annotation with types in the places of its variables: those given, or else what each says it is at least."""
    if isinstance(annotation, TypeVar):
        return arguments.get(annotation, _unknown(annotation))
    variables = getattr(annotation, "__parameters__", ()) if get_origin(annotation) else ()
    if not variables or not all(isinstance(variable, TypeVar) for variable in variables):
        return annotation
    return annotation[tuple(filled(variable, arguments) for variable in variables)]


def _unknown(variable: TypeVar) -> Any:
    default = getattr(variable, "__default__", NoDefault)
    return (variable.__bound__ or Any) if default is NoDefault else default
