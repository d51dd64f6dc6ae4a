"""The words of a command line become values, or a fault that says which word is wrong; secrets are never repeated."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from ..connections.client.tokens import AccessToken, TokenReason
from ..connections.client.urls import is_header_text
from ..connections.http import public_url
from ..errors import BindingError
from ..protocol.payloads import Payloads
from .client import UNREADABLE, Protocol, read_argument, write_read
from .process import Fault
from .uploads import Upload

Items = Literal["json", "text"]

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:=|: *(?=[!-~]))([ -~]*)")
_STANDARD_INPUT = "@-"


def read_url(text: str) -> str:
    """The URL of a hub."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https", "ws", "wss") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not re.fullmatch(r"[!-~]+", text):
        raise Fault(f"'{public_url(text)}' is no URL of a hub, such as http://127.0.0.1:8000/counter")
    return text


def read_header(number: int, text: str) -> tuple[str, str]:
    """A header's name and value."""
    found = _HEADER.fullmatch(text)
    if found is None:  # and the text may be a secret
        raise Fault(f"header {number} is none: write NAME=VALUE or 'NAME: VALUE'")
    name, value = found.groups()
    return name, value.strip()


def read_arguments(
    texts: Sequence[str], protocol: Protocol, items: Items, *, beside_secrets: bool
) -> list[Any]:
    """A method's arguments, each as JSON; one may be the standard input, a line an item."""
    values: list[Any] = []
    for number, text in enumerate(texts, 1):
        if text != _STANDARD_INPUT:
            values.append(_argument(f"argument {number}", text, protocol, beside_secrets))
        elif texts.count(_STANDARD_INPUT) > 1:
            raise Fault("standard input can be one argument only")
        else:
            values.append(_upload(protocol, items, beside_secrets))
    return values


def _upload(protocol: Protocol, items: Items, beside_secrets: bool) -> Upload:
    def read(number: int, text: str) -> object:
        if items == "text":
            return text
        return _argument(f"line {number} of standard input", text, protocol, beside_secrets)

    return Upload(0, read, skip_empty=items == "json")


def _argument(what: str, text: str, protocol: Protocol, beside_secrets: bool) -> object:
    try:
        value = read_argument(text, protocol)
        write_read(Payloads(protocol).dump_arguments, [value])
    except UNREADABLE:
        if beside_secrets:  # it may be a part of one that has lost its quotes
            raise Fault(
                f"{what} is not JSON; a text needs its quotes, and so have a header and a token"
            ) from None
        hint = f" (a text needs its quotes: '\"{text}\"')" if text.isalnum() else ""
        raise Fault(f"{what} is not JSON: {text:.500}{hint}") from None
    except (BindingError, Fault) as error:
        raise Fault(f"{what}: {error}") from error
    return value


def read_trust(path: Path | None) -> ssl.SSLContext | None:
    """Whom to trust: those of a file."""
    if path is None:
        return None
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        raise Fault(f"the certificates of '{path}' cannot be read: {error.strerror or error}") from error


def read_backplane(text: str) -> str:
    """A backplane's URL, or that which a variable of the environment has, as command lines are no secrets."""
    return os.environ.get(text[4:], "") if text.startswith("env:") else text


def read_token(text: str) -> AccessToken:
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
