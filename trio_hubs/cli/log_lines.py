"""What a server of the command logs on standard error: a line each, with its time, as text or as JSON."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Literal

import attrs
import msgspec
from cyclopts import Parameter

from ..logs import FieldsFilter, access_logger, fields_of

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]


class JsonFormatter(logging.Formatter):
    """A JSON object for each line: its time, level, logger and message, and the fields that it was given."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = record.exc_text
        line = {**fields_of(record), **line}
        return msgspec.json.encode(line, enc_hook=str).decode()


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class LogLines:
    """What is logged on standard error; each attribute is an option.

    Attributes:
        log_level: What is logged on standard error: this, and what is worse.
        log_format: How a line of that looks: text, or a JSON object.
        access_log: Log each HTTP request, whatever the level.
    """

    log_level: LogLevel = "warning"
    log_format: LogFormat = "text"
    access_log: bool = False

    def begin(self) -> None:
        """Log there from now on, unless the app's module has set logging up itself."""
        handler = logging.StreamHandler()
        handler.addFilter(FieldsFilter())
        text = "%(asctime)s %(levelname)s %(name)s: %(message)s"
        handler.setFormatter(JsonFormatter() if self.log_format == "json" else logging.Formatter(text))
        logging.basicConfig(handlers=[handler], level=self.log_level.upper())
        if self.access_log:
            access_logger.setLevel(logging.INFO)
