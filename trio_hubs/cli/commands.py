"""The commands and their arguments: nothing runs before all of its input is known to be good."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import attrs
from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from ..connections.client.tokens import AccessToken, TokenReason
from ..connections.client.urls import is_header_text
from ..connections.http import public_url
from ..errors import BindingError, HubsError
from ..protocol.negotiate import Transport
from ..protocol.payloads import Payloads
from . import client, server
from .client import Protocol
from .demo import PipeConsole
from .demo import demo as run_demo
from .process import FAILED, INTERRUPTED, READER_LEFT, WRONG_INPUT, Fault, complain, run

Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535))]
Seconds = Annotated[float, Parameter(validator=Number(gte=0))]
Repeated = Parameter(show_default=False)
TransportName = Literal["websockets", "sse", "long-polling"]

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:=|: *(?=[!-~]))([ -~]*)")

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
    """

    protocol: Protocol = "json"
    transport: Annotated[tuple[TransportName, ...], Repeated] = ()
    header: Annotated[tuple[str, ...], Repeated] = ()
    token: str | None = None


_DIRECT = Way()

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
def stream(url: str, method: str, /, *arguments: str, way: Way = _DIRECT, reconnect: bool = False) -> int:
    """Call a streaming hub method, and print its items as JSON, a line each. Ctrl-C cancels the method.

    Args:
        url: The hub's URL, such as http://127.0.0.1:8000/counter.
        method: The method's name.
        arguments: Its arguments, each as JSON.
        reconnect: When the connection is lost, connect again, and call the method again, for as long as it takes.
    """
    return _call(client.stream, url, method, arguments, way, reconnect=reconnect)


@app.command
def invoke(url: str, method: str, /, *arguments: str, way: Way = _DIRECT) -> int:
    """Call a hub method, and print its result as JSON. Ctrl-C cancels the method.

    Args:
        url: The hub's URL, such as http://127.0.0.1:8000/counter.
        method: The method's name.
        arguments: Its arguments, each as JSON.
    """
    return _call(client.invoke, url, method, arguments, way)


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
def serve(name: str, /, *, host: str = "127.0.0.1", port: Port = 8000, drain: Seconds = 10.0) -> int:
    """Serve an app of yours until Ctrl-C or SIGTERM.

    Args:
        name: MODULE:APP, a HubApp in a module of this folder or of an installed package.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        drain: Seconds that invocations and streams may still run after SIGTERM, while new connections get 503.
    """
    found = server.find_app(name)
    run(server.serve, found, host, port, on_terminate=partial(found.drain, drain))
    return 0


def _call(
    command: Callable[[client.Server, str, Sequence[object]], Awaitable[None]],
    url: str,
    method: str,
    arguments: Sequence[str],
    way: Way,
    *,
    reconnect: bool = False,
) -> int:
    server = _server(url, way, reconnect=reconnect)
    values = [
        _argument(number, text, way.protocol, bool(way.header or way.token))
        for number, text in enumerate(arguments, 1)
    ]
    return run(command, server, method, values)


def _server(url: str, way: Way, *, reconnect: bool) -> client.Server:
    logging.getLogger("trio_hubs").addHandler(logging.NullHandler())  # standard error is for the one line
    _check_url(url)
    return client.Server(
        url=url,
        protocol=way.protocol,
        headers=dict(_header(number, text) for number, text in enumerate(way.header, 1)),
        token=None if way.token is None else _token(way.token),
        transports=[_TRANSPORTS[name] for name in way.transport or _TRANSPORTS],
        reconnect=reconnect,
    )


def _token(text: str) -> AccessToken:
    """A token, or what gives the one that stands in a file now. No message names the file: it may be the token."""
    if text.startswith("env:"):
        return _checked(os.environ.get(text[4:], ""))
    if not text.startswith("@"):
        return _checked(text)
    path = Path(text[1:])
    token = _read_token(path)

    def read(_: TokenReason) -> str:
        nonlocal token
        with suppress(Fault):  # what can be read only once, such as a pipe, gave the token
            token = _read_token(path)
        return token

    return read


def _read_token(path: Path) -> str:
    try:
        return _checked(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: it is no text
        raise Fault(
            f"the token's file cannot be read: {getattr(error, 'strerror', 'it is no text')}"
        ) from None


def _checked(token: str) -> str:
    token = token.strip()
    if not is_header_text(token) or not token:
        raise Fault("the token is empty, or no token")
    return token


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not re.fullmatch(r"[!-~]+", url):
        raise Fault(f"'{public_url(url)}' is no URL of a hub, such as http://127.0.0.1:8000/counter")


def _argument(number: int, text: str, protocol: Protocol, beside_secrets: bool) -> object:
    try:
        value = client.read_argument(text, protocol)
        client.write_read(Payloads(protocol).dump_arguments, [value])
    except client.UNREADABLE:
        if beside_secrets:  # it may be a part of one that has lost its quotes
            raise Fault(
                f"argument {number} is not JSON; a text needs its quotes, and so have a header and a token"
            ) from None
        hint = f" (a text needs its quotes: '\"{text}\"')" if text.isalnum() else ""
        raise Fault(f"argument {number} is not JSON: {text:.500}{hint}") from None
    except (BindingError, Fault) as error:
        raise Fault(f"argument {number}: {error}") from error
    return value


def _header(number: int, text: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(text)
    if found is None:  # and the text may be a secret
        raise Fault(f"header {number} is none: write NAME=VALUE or 'NAME: VALUE'")
    name, value = found.groups()
    return name, value.strip()


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
