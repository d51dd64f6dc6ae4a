"""The demo in a terminal: what our client gets on the left, what the server sees on the right, all live."""

from __future__ import annotations

import logging

import trio
from rich.console import Console
from rich.text import Text

from ..client.opening import open_hub_connection
from ..demo.counter import HUB_PATH, counter_app
from .output import while_read
from .process import Fault
from .server import Doors, serving

COUNT = 10
DELAY = 200
COLUMN = 24
_STYLES = {"completed": "bold green", "cancelled": "bold yellow"}


class PipeConsole(Console):
    """A console that raises when nobody reads it any more, rather than end the process."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class _View:
    """Two columns, written line by line, to a terminal or to a file.

    Attributes:
        failure: Why no more can be written, once that is so.
        scope: What is cancelled then.
    """

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.scope = trio.CancelScope()
        self._console = PipeConsole(highlight=False, soft_wrap=True)
        self._names: dict[str, str] = {}

    def say(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style))

    def heading(self) -> None:
        self.say(f"  {'this terminal':<{COLUMN}}the server", "dim")

    def client_got(self, text: str, style: str = "cyan") -> None:
        self.say(f"  {text}", _STYLES.get(text, style))

    def server_saw(self, connection_id: str, text: str) -> None:
        # The first to stream is this terminal, and needs no name.
        name = self._names.setdefault(connection_id, f"browser {len(self._names)}: " if self._names else "")
        style = _STYLES.get(text, "magenta")
        try:
            self._console.print(Text.assemble(" " * (COLUMN + 2), (name, "dim"), (text, style)))
        except (BrokenPipeError, Fault) as error:  # it ends the demo, and does not fail the hub's method
            self.failure = error
            self.scope.cancel()


async def demo(host: str, port: int, once: bool) -> None:
    """Serve the Counter sample, and stream from it to the terminal.

    Args:
        host: The address to listen on.
        port: The port; 0 takes a free one.
        once: End after the terminal's stream, instead of being there for browsers until cancelled.
    """
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    view = _View()
    with view.scope:
        await _demo(view, host, port, once)
    if view.failure is not None:
        raise view.failure


async def _demo(view: _View, host: str, port: int, once: bool) -> None:
    app = counter_app(view.server_saw)
    async with while_read(), serving(app, Doors(host=host, port=port)) as serving_it:
        [address] = app.addresses
        view.say(f"listening {address}", "bold")
        view.say("")
        view.heading()
        async with open_hub_connection(
            address + HUB_PATH, handlers={"Saw": lambda _: None}, skip_negotiation=True
        ) as connection:
            view.client_got(f"Counter({COUNT}, {DELAY})", "bold")
            async with connection.stream("Counter", COUNT, DELAY, item_type=int) as reader:
                async for item in reader:
                    view.client_got(str(item))
            view.client_got("completed")
        if once:
            serving_it.cancel()
        else:
            view.say("")
            view.say(
                f"Open {address} in a browser: start a stream there, and cancel it. Ctrl-C ends the demo."
            )
            view.say("")
