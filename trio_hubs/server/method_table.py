"""The methods of a hub that clients can call, and how one protocol decodes them, found out once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from msgspec import Raw

from ..calls.methods import Method, Signature
from ..connections.users import Policy
from ..protocol.hub_protocol import HubProtocol
from ..protocol.messages import Invocation
from .hub import Hub, HubMethod, hub_methods


@attrs.frozen
class MethodTable:
    """The methods of a hub for one protocol.

    Attributes:
        protocol: The protocol.
        methods: By lower-case wire name.
        guarded: The methods that run behind policies, filters or both, with their policies.
        refreshed: The hub's ``on_authentication_refreshed`` and a call of it, where the hub has one of its own.
    """

    protocol: HubProtocol
    methods: Mapping[str, Method]
    guarded: Mapping[Method, tuple[Policy, ...]]
    refreshed: tuple[Method, Invocation] | None

    @classmethod
    def of(cls, hub: type[Hub[Any]], protocol: HubProtocol, *, filtered: bool) -> MethodTable:
        """Read a hub's methods.

        Args:
            hub: The hub's class.
            protocol: What decodes arguments and encodes results.
            filtered: Whether filters run around every method.

        Raises:
            TypeError: Names clash, or annotations cannot be resolved.
        """
        methods: dict[str, Method] = {}
        guarded: dict[Method, tuple[Policy, ...]] = {}
        for wire, found in hub_methods(hub).items():
            method = methods[wire] = _method(hub, found, protocol)
            if filtered or found.policies:
                method.inline = False  # filters and policies may wait
                guarded[method] = found.policies
        return cls(protocol, methods, guarded, _refreshed(hub, protocol))


def _method(hub: type[Hub[Any]], found: HubMethod, protocol: HubProtocol) -> Method:
    signature = Signature.of(found.function, skip=1, owner=hub)
    try:
        return Method(found.name, found.function, signature, protocol.payloads)
    except TypeError as error:
        raise TypeError(f"{hub.__qualname__}.{found.function.__name__}: {error}") from error


def _refreshed(hub: type[Hub[Any]], protocol: HubProtocol) -> tuple[Method, Invocation] | None:
    function = hub.on_authentication_refreshed
    if function is Hub.on_authentication_refreshed:
        return None
    method = _method(hub, HubMethod(function.__name__, function, ()), protocol)
    method.inline = False  # it is called in a request's task
    return method, Invocation(target=method.name, arguments=Raw(protocol.payloads.dump_arguments(())))
