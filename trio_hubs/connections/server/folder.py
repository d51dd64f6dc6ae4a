"""The files of a folder as answers: nothing that is hidden, and nothing that lies outside of it."""

from __future__ import annotations

import os
from urllib.parse import quote

import trio

from ..http import Headers, Request, Response
from .exchange import nothing_at
from .files import FileResponse, content_type_of

INDEX = "index.html"
"""What stands for a folder itself."""

_UNFIT = frozenset("\\\0" if os.sep == "/" else "\\\0:")  # for the name of a file


class Folder:
    """Answers with files.

    Args:
        path: The folder.
        headers: Further headers of each.
        follow_symlinks: Whether links may lead out of the folder; the folder itself may be one in any case.

    Raises:
        ValueError: There is no such folder.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, headers: Headers, follow_symlinks: bool = False
    ) -> None:
        self._path = os.path.abspath(path)  # noqa: PTH100 - which leaves links as they are
        self._headers = headers
        self._follow_symlinks = follow_symlinks
        if not os.path.isdir(self._path):  # noqa: PTH112
            raise ValueError(f"there is no folder '{path}'")
        content_type_of(INDEX)  # which looks for types the first time

    async def answer(self, request: Request, path: str) -> Response | FileResponse:
        """Answer with the file at a path below the folder."""
        *folders, name = path.split("/")
        if not all(map(_is_fit, folders)) or not (name == "" or _is_fit(name)):
            return nothing_at(request)
        found = await trio.to_thread.run_sync(self._find, path)
        if found is None:
            return nothing_at(request)
        if found == "":
            return self.redirect(request)
        return FileResponse(found, content_type=content_type_of(name or INDEX), headers=self._headers)

    def redirect(self, request: Request) -> Response:
        """Answer that the folder is meant that the path ends in; relatively, as proxies may have changed the path."""
        query = f"?{request.raw_query}" if request.raw_query else ""
        name = quote(request.path.rpartition("/")[2], safe="")
        return Response(status=307, headers={"Location": f"./{name}/{query}"})

    def _find(self, path: str) -> str | None:
        """Where the file at a path is, if there is one, and "" for a folder whose path lacks its slash."""
        file = os.path.join(self._path, path)  # noqa: PTH118
        if os.path.isdir(file):  # noqa: PTH112
            if path and not path.endswith("/"):
                return ""
            file = os.path.join(file, INDEX)  # noqa: PTH118
        elif path.endswith("/"):
            return None
        if self._follow_symlinks:
            return file
        file, root = os.path.realpath(file), os.path.realpath(self._path)
        return file if os.path.commonpath((file, root)) == root else None


def _is_fit(name: str) -> bool:
    """Whether a part of a path may name what is to be seen."""
    return bool(name) and (name[0] != "." or name == ".well-known") and not _UNFIT & set(name)
