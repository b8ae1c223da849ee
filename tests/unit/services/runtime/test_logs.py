"""Logs are JSON, say where, and quote nobody."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.runtime.logs import log_to


@pytest.fixture
def lines() -> Iterator[Any]:
    """Logs to a text; returns the parsed lines so far."""
    handlers, level = logging.root.handlers[:], logging.root.level
    stream = io.StringIO()
    log_to(stream, "INFO", service="garden")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_a_record_is_one_json_object(lines: Any) -> None:
    logging.getLogger("x").info("grew by %d\nand more", 3, extra={"fields": {"bed": "ä"}})
    (entry,) = lines()
    assert entry["message"] == "grew by 3\nand more"
    assert (entry["service"], entry["bed"], entry["level"], entry["logger"]) == ("garden", "ä", "INFO", "x")
    assert entry["time"].endswith("+00:00")


def test_the_text_of_an_exception_is_not_logged_but_its_place_is(lines: Any) -> None:
    def bury() -> None:
        raise ValueError("the secret of a person")

    for error in (bury,):
        try:
            error()
        except ValueError:
            logging.getLogger("x").exception("failed")
    (entry,) = lines()
    assert entry["error"] == "ValueError"
    assert any("bury" in frame for frame in entry["raised"])
    assert "secret" not in json.dumps(entry)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Fault(reason_pb2.REASON_OVERLOADED, "Too much."), "Fault: OVERLOADED: Too much."),
        (ConnectionRefusedError(111, "refused"), "ConnectionRefusedError: [Errno 111] refused"),
        (KeyError("a name"), "KeyError"),
    ],
)
def test_only_texts_for_strangers_are_kept(lines: Any, error: Exception, text: str) -> None:
    logging.getLogger("x").error("failed", exc_info=error)
    assert lines()[0]["error"] == text


def test_libraries_that_would_log_statements_are_silent(lines: Any) -> None:
    for name in ("sqlalchemy.engine", "grpc.aio", "casbin.policy", "alembic.runtime"):
        logging.getLogger(name).info("SELECT a secret")
    assert lines() == []
