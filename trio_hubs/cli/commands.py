"""The commands and their arguments: nothing runs before all of its input is known to be good."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import attrs
from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from ..errors import HubsError
from ..monitor.hub import LONGEST
from ..monitor.processes import SHORTEST
from ..protocol.negotiate import Transport
from . import client, server
from .apps import find_app
from .client import Protocol
from .demo import PipeConsole
from .demo import demo as run_demo
from .log_lines import LogLines
from .process import FAILED, INTERRUPTED, READER_LEFT, WRONG_INPUT, Fault, complain, run
from .reload import serve_again
from .server import Doors, Port
from .top import top as run_top
from .uploads import Upload
from .words import Items, read_arguments, read_backplane, read_header, read_token, read_trust, read_url

Seconds = Annotated[float, Parameter(validator=Number(gte=0))]
Every = Annotated[float, Parameter(validator=Number(gte=SHORTEST, lte=LONGEST))]
Repeated = Parameter(show_default=False)
TransportName = Literal["websockets", "sse", "long-polling"]

_TRANSPORTS: dict[TransportName, Transport] = {
    "websockets": Transport.WEBSOCKETS,
    "sse": Transport.SERVER_SENT_EVENTS,
    "long-polling": Transport.LONG_POLLING,
}


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class Way:
    """How to get to a hub; each attribute is an option.

    Attributes:
        protocol: The hub protocol to speak.
        transport: A transport that may be used; may be repeated. All of them by default.
        header: A further header of the HTTP requests, as NAME=VALUE or "NAME: VALUE"; may be repeated.
        token: The access token: itself, or as @FILE or env:NAME where it stands.
        cafile: A file with the certificates to trust, instead of the system's.
        timeout: Seconds that the server may take to let us in, and again to answer a call.
    """

    protocol: Protocol = "json"
    transport: Annotated[tuple[TransportName, ...], Repeated] = ()
    header: Annotated[tuple[str, ...], Repeated] = ()
    token: str | None = None
    cafile: Path | None = None
    timeout: Annotated[float | None, Parameter(validator=Number(gt=0))] = None


_DIRECT = Way()
_USUAL = Doors()
_QUIET = LogLines()

app = App(
    name="trio-hubs",
    help="SignalR for trio: call hubs, serve them, and see one work.",
    version=lambda: version("trio-hubs"),
    default_parameter=Parameter(negative=()),
    result_action="return_value",
    console=PipeConsole(),
)


@app.command
def demo(*, host: str = "127.0.0.1", port: Port = 8000, once: bool = False) -> int:
    """Serve the Counter sample with a page for your browser, and stream from it to this terminal.

    Args:
        host: The address to listen on.
        port: The port; 0 takes a free one.
        once: End after the terminal's stream, instead of with Ctrl-C.
    """
    run(run_demo, host, port, once)
    return 0


@app.command
def stream(
    url: str,
    method: str,
    /,
    *arguments: str,
    way: Way = _DIRECT,
    items: Items = "json",
    reconnect: bool = False,
) -> int:
    """Call a streaming hub method, and print its items as JSON, a line each. Ctrl-C cancels the method.

    Args:
        url: The hub's URL, such as http://127.0.0.1:8000/counter.
        method: The method's name.
        arguments: Its arguments, each as JSON; @- is a stream of what comes on standard input, a line an item.
        items: What a line of standard input is.
        reconnect: When the connection is lost, connect again, and call the method again, for as long as it takes.
    """
    return _call(client.stream, url, method, arguments, way, items, reconnect=reconnect)


@app.command
def invoke(url: str, method: str, /, *arguments: str, way: Way = _DIRECT, items: Items = "json") -> int:
    """Call a hub method, and print its result as JSON. Ctrl-C cancels the method.

    Args:
        url: The hub's URL, such as http://127.0.0.1:8000/counter.
        method: The method's name.
        arguments: Its arguments, each as JSON; @- is a stream of what comes on standard input, a line an item.
        items: What a line of standard input is.
    """
    return _call(client.invoke, url, method, arguments, way, items)


@app.command
def send(url: str, method: str, /, *arguments: str, way: Way = _DIRECT, items: Items = "json") -> int:
    """Call a hub method without waiting for it: nothing tells whether it went well.

    Args:
        url: The hub's URL, such as http://127.0.0.1:8000/counter.
        method: The method's name.
        arguments: Its arguments, each as JSON; @- is a stream of what comes on standard input, a line an item.
        items: What a line of standard input is.
    """
    return _call(client.send, url, method, arguments, way, items)


@app.command
def listen(url: str, /, *methods: str, way: Way = _DIRECT, reconnect: bool = False) -> int:
    """Print what the server calls as JSON, a line each, until Ctrl-C.

    Args:
        url: The hub's URL, such as http://127.0.0.1:8000/chat.
        methods: The names of the client methods, in their exact letter case.
        reconnect: When the connection is lost, connect again, for as long as it takes.
    """
    if not methods:
        raise Fault("listen to which methods? Name one or several")
    return run(client.listen, _server(url, way, reconnect=reconnect), methods)


@app.command
def top(url: str, /, *, way: Way = _DIRECT, every: Every = 1.0, once: bool = False) -> int:
    """Show what a running app does, live, as its monitor tells it, until Ctrl-C.

    Elsewhere than on a terminal each snapshot is a line of JSON.

    Args:
        url: The URL of the monitor's page, such as http://127.0.0.1:8000/monitor.
        every: Seconds from one snapshot to the next.
        once: Show one snapshot, with the rates of so long, and end.
    """
    return run(run_top, _server(url, way, reconnect=True), every, once)


@app.command
def serve(
    name: str,
    /,
    *,
    doors: Doors = _USUAL,
    drain: Seconds | None = None,
    notice: Seconds = 0.0,
    log: LogLines = _QUIET,
    reload: bool = False,
    workers: Annotated[int, Parameter(validator=Number(gte=1, lte=1000))] = 1,
    backplane: str | None = None,
) -> int:
    """Serve an app of yours until Ctrl-C or SIGTERM.

    Args:
        name: MODULE:APP, a HubApp in a module of this folder or of an installed package, or a function that makes one.
        drain: Seconds that invocations and streams may still run after SIGTERM, while new connections get 503: 10,
            or with --reload none.
        notice: Seconds before that in which all goes on, and the app only says that it is not ready any more.
        reload: Serve it anew when a Python file of this folder has changed.
        workers: How many processes serve it together. SIGHUP replaces them one by one.
        backplane: The URL of a Redis that joins it with other servers, such as redis://localhost:6379; or
            env:NAME, where it stands.
    """
    seconds = 10.0 if drain is None else drain
    if reload and (workers > 1 or backplane is not None):
        raise Fault("--reload serves one process alone, without --workers and --backplane")
    redis = None if backplane is None else read_backplane(backplane)
    if workers > 1:
        served = server.Workers()
        serve_workers = partial(served.serve, name, doors, workers, seconds, notice)
        run(serve_workers, log, redis, on_terminate=served.stop)
    elif reload:
        run(serve_again, name, doors, drain or 0.0, notice, log)
    else:
        found = find_app(name, redis)
        run(server.serve, found, doors, log, on_terminate=partial(found.drain, seconds, notice=notice))
    return 0


@app.command
def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print what teaches a shell to complete the words of this command.

    Args:
        shell: Which.
    """
    print(app.generate_completion(shell=shell))
    return 0


def _call(
    command: Callable[[client.Server, str, Sequence[object]], Awaitable[None]],
    url: str,
    method: str,
    arguments: Sequence[str],
    way: Way,
    items: Items,
    *,
    reconnect: bool = False,
) -> int:
    server = _server(url, way, reconnect=reconnect)
    secrets = bool(way.header or way.token)
    values = read_arguments(arguments, way.protocol, items, beside_secrets=secrets)
    if reconnect and any(isinstance(value, Upload) for value in values):
        raise Fault("standard input is read once, and cannot be sent again by --reconnect")
    return run(command, server, method, values)


def _server(url: str, way: Way, *, reconnect: bool) -> client.Server:
    logging.getLogger("trio_hubs").addHandler(logging.NullHandler())  # standard error is for the one line
    return client.Server(
        url=read_url(url),
        protocol=way.protocol,
        headers=dict(read_header(number, text) for number, text in enumerate(way.header, 1)),
        token=None if way.token is None else read_token(way.token),
        transports=[_TRANSPORTS[name] for name in way.transport or _TRANSPORTS],
        reconnect=reconnect,
        trust=read_trust(way.cafile),
        timeout=way.timeout,
    )


def run_command(arguments: Sequence[str]) -> int:
    """Run a command line.

    Args:
        arguments: Its words, without the program's name.

    Returns:
        The exit status: 0 when all went well or our server was told to end, 1 when the server answered with
        an error or was lost, 2 for wrong input, 128 and the signal's number when a call was interrupted.
    """
    try:
        for argument in arguments:
            argument.encode()
        return app(arguments, exit_on_error=False, print_error=False) or 0
    except UnicodeEncodeError:
        complain("an argument is not valid text in this terminal's encoding")
    except CycloptsError as error:
        complain(_without_values(str(error), arguments))
    except Fault as error:
        complain(str(error))
    except HubsError as error:
        complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return READER_LEFT
    return WRONG_INPUT


def _without_values(text: str, arguments: Sequence[str]) -> str:
    """A complaint about some words, without what stands behind the options' names in them."""
    for word in sorted(arguments, key=len, reverse=True):
        if option := re.match(r"-[\w.-]*", word):
            text = text.replace(word, option[0])
    return text
