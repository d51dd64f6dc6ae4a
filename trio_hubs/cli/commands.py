"""The commands and their arguments: nothing runs before all of its input is known to be good."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import Annotated
from urllib.parse import urlsplit

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from ..connections.http import public_url
from ..errors import BindingError, HubsError
from ..protocol.payloads import Payloads
from . import client, server
from .client import Protocol
from .demo import PipeConsole
from .demo import demo as run_demo
from .process import FAILED, INTERRUPTED, READER_LEFT, WRONG_INPUT, Fault, complain, run

Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535))]
Seconds = Annotated[float, Parameter(validator=Number(gte=0))]
Headers = Annotated[tuple[str, ...], Parameter(show_default=False)]

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:=|: *(?=[!-~]))([ -~]*)")

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
    url: str, method: str, /, *arguments: str, protocol: Protocol = "json", header: Headers = ()
) -> int:
    """Call a streaming hub method, and print its items as JSON, a line each. Ctrl-C cancels the method.

    Args:
        url: The hub's URL, such as http://127.0.0.1:8000/counter.
        method: The method's name.
        arguments: Its arguments, each as JSON.
        protocol: The hub protocol to speak.
        header: A further header of the HTTP requests, as NAME=VALUE or "NAME: VALUE"; may be repeated.
    """
    return run(client.stream, _call(url, method, arguments, protocol, header))


@app.command
def invoke(
    url: str, method: str, /, *arguments: str, protocol: Protocol = "json", header: Headers = ()
) -> int:
    """Call a hub method, and print its result as JSON. Ctrl-C cancels the method.

    Args:
        url: The hub's URL, such as http://127.0.0.1:8000/counter.
        method: The method's name.
        arguments: Its arguments, each as JSON.
        protocol: The hub protocol to speak.
        header: A further header of the HTTP requests, as NAME=VALUE or "NAME: VALUE"; may be repeated.
    """
    return run(client.invoke, _call(url, method, arguments, protocol, header))


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
    url: str, method: str, arguments: Sequence[str], protocol: Protocol, headers: Sequence[str]
) -> client.Call:
    logging.getLogger("trio_hubs").addHandler(logging.NullHandler())  # standard error is for the one line
    _check_url(url)
    named = dict(_header(number, text) for number, text in enumerate(headers, 1))
    values = [_argument(number, text, protocol, bool(headers)) for number, text in enumerate(arguments, 1)]
    return client.Call(url, method, values, protocol, named)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not re.fullmatch(r"[!-~]+", url):
        raise Fault(f"'{public_url(url)}' is no URL of a hub, such as http://127.0.0.1:8000/counter")


def _argument(number: int, text: str, protocol: Protocol, with_headers: bool) -> object:
    try:
        value = client.read_argument(text, protocol)
        client.write_read(Payloads(protocol).dump_arguments, [value])
    except client.UNREADABLE:
        if with_headers:  # it may be a part of one that has lost its quotes
            raise Fault(
                f"argument {number} is not JSON; a text needs its quotes, and so has a header"
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
