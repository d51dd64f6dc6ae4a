"""Hooks of users: what they have registered on a cattrs converter goes before all that stands here.

They are found when a type is given. A hook that is made with the converter it is for is made with ours, so that what
it leaves to the converter is read and written as everywhere.
"""

from collections.abc import Callable
from typing import Any

from cattrs import Converter
from cattrs.dispatch import MultiStrategyDispatch

from .scalars import Reader, Writer


class Hooks(Converter):
    """A converter with the hooks of another, and with readers and writers beneath them.

    Args:
        source: The converter whose hooks are copied, as they are now; of its settings, none are.

    Attributes:
        reader: What reads a type that has no hook; to be set.
        writer: What writes a type that has no hook; to be set.
        some: Whether there are any hooks.
    """

    reader: Callable[[Any], Reader]
    writer: Callable[[Any], Writer]

    def __init__(self, source: Converter | None) -> None:
        super().__init__(detailed_validation=False)
        self.some = source is not None
        source = source or _FRESH
        self._read_hooks = self._copied(source, "struct", lambda _: None)
        self._write_hooks = self._copied(source, "unstruct", lambda _: None)
        self._structure_func = self._copied(source, "struct", self._read_other)
        self._unstructure_func = self._copied(source, "unstruct", self._write_other)

    def _read_other(self, type_: Any) -> Reader:
        return self.reader(type_)

    def _write_other(self, type_: Any) -> Writer:
        return self.writer(type_)

    def _copied(self, source: Converter, which: str, fallback: Callable[[Any], Any]) -> Any:
        made: Any = MultiStrategyDispatch(fallback, self)
        theirs = getattr(source, f"_{which}ure_func")
        if which == "struct":
            for union, hook in source._union_struct_registry.items():
                made.register_func_list([(lambda type_, union=union: type_ == union, hook)])
        theirs._function_dispatch.copy_to(made._function_dispatch, getattr(source, f"_{which}_copy_skip"))
        fresh = getattr(_FRESH, f"_{which}ure_func")._single_dispatch.registry
        for class_, hook in theirs._single_dispatch.registry.items():
            if _function(fresh.get(class_)) != _function(hook):
                made.register_cls_list([(class_, hook)])
        return made

    def read_hook(self, type_: Any) -> Reader | None:
        """The user's hook that reads a type, if there is one."""
        hook: Reader | None = self._read_hooks.dispatch(type_) if self.some else None
        return hook

    def write_hook(self, type_: Any) -> Writer | None:
        """The user's hook that writes a type, if there is one."""
        hook: Writer | None = self._write_hooks.dispatch(type_) if self.some else None
        return hook


_FRESH = Converter()


def _function(hook: Any) -> Any:
    return getattr(hook, "__func__", hook)
