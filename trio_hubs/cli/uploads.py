"""What comes on standard input is an upload: a line an item, read as fast as the server takes them.

A line that is no item ends the command, and the server's method sees its upload break off.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import trio

from ..calls.channels import ChannelWriter, open_channel
from ..errors import ChannelClosed
from ..tasks import open_background
from .process import Fault

MAXIMUM_LINE = 16 * 1024 * 1024
"""Bytes of a line."""

_PIECE = 64 * 1024


@attrs.define
class Upload:
    """An argument that is a stream of the lines of a file.

    Attributes:
        descriptor: The file's, which another process may be writing.
        read: Makes an item of a line, given its number and its text; raises :exc:`Fault`.
        skip_empty: Whether a line without anything is no item.
        whole: Whether all of it has been taken.
    """

    descriptor: int
    read: Callable[[int, str], Any]
    skip_empty: bool
    whole: bool = attrs.field(default=False, init=False)

    async def feed(self, writer: ChannelWriter[Any]) -> None:
        """Write all items, for as long as somebody reads them.

        Raises:
            Fault: A line is none, or the file cannot be read.
        """
        number, rest = 1, b""
        with suppress(ChannelClosed):
            while piece := await self._piece():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    await self._write(writer, number, line)
                    number += 1
                if len(rest) > MAXIMUM_LINE:
                    raise Fault(f"line {number} of standard input is longer than {MAXIMUM_LINE} bytes")
            if rest:
                await self._write(writer, number, rest)
            writer.complete()
            self.whole = True

    async def _write(self, writer: ChannelWriter[Any], number: int, line: bytes) -> None:
        try:
            text = line.removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise Fault(f"line {number} of standard input is no text") from None
        if text or not self.skip_empty:
            await writer.write(self.read(number, text))

    async def _piece(self) -> bytes:
        try:
            return await trio.to_thread.run_sync(os.read, self.descriptor, _PIECE, abandon_on_cancel=True)
        except OSError as error:
            raise Fault(f"cannot read standard input: {error.strerror}") from error


@asynccontextmanager
async def uploading(arguments: Sequence[Any]) -> AsyncGenerator[list[Any]]:
    """Read what is uploaded, for the body.

    Yields:
        The arguments, with a reader in the place of an upload.

    Raises:
        Fault: What is read is no item; the body is cancelled.
    """
    async with open_background() as nursery:
        values = list(arguments)
        for place, argument in enumerate(arguments):
            if isinstance(argument, Upload):
                writer, values[place] = open_channel(Any, capacity=100)
                nursery.start_soon(argument.feed, writer)
        yield values
