"""Structured logs: one JSON object per line on standard error.

Messages, request bodies and metadata are never logged. An exception is logged by its type and where it was raised, not
by its text, because texts of libraries quote the values they were given; only a `Fault`, whose message is written for
strangers, and the operating system's own errors keep theirs.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from interceptors.call import current_call
from interceptors.faults import Fault


class JsonFormatter(logging.Formatter):
    """Renders a record: time (RFC 3339), level, logger, text, `extra={"fields": {...}}`, the call it fell in."""

    def __init__(self, **constant: str) -> None:
        super().__init__()
        self._constant = constant

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._constant,
            **getattr(record, "fields", {}),
        }
        call = current_call()
        if call is not None:
            entry["call"] = call.id
            entry["trace"] = call.trace_parent
        if record.exc_info and record.exc_info[1] is not None:
            entry["error"] = describe(record.exc_info[1])
            entry["raised"] = _frames(record.exc_info[2])
        return json.dumps(entry, default=str, ensure_ascii=False)


def describe(error: BaseException) -> str:
    """An exception's type, with its text only where the text cannot hold anybody's data."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, Fault | OSError) else name


def _frames(trace: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)][-12:]


def log_to(stream: TextIO = sys.stderr, level: str = "INFO", **constant: str) -> None:
    """Send every log of this process to `stream` as JSON lines that carry the `constant` fields."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(**constant))
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    # SQLAlchemy and gRPC would log statements and messages on lower levels; Alembic tells each step it takes.
    for noisy in ("sqlalchemy", "grpc", "asyncio", "casbin", "alembic"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.root.level))
