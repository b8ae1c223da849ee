"""Streams a file into `UserDataService.ImportHistory`, with progress."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import google_crc32c

from cli.demo.account import Listener
from polyphony.spotify.v1.import_pb2 import Import
from polyphony.spotify.v1.user_data_service_pb2 import ImportChunk, ImportHeader, ImportHistoryRequest

CHUNK_BYTES = 256 * 1024
IMPORT_SECONDS = 1_800.0


def upload(listener: Listener, path: Path, sent: Callable[[int], None]) -> Import:
    """Import one file; `sent(bytes)` is told after each chunk. Raises `grpc.RpcError`, `OSError`."""
    response = listener.history.ImportHistory(
        _messages(path, sent), metadata=listener.metadata, timeout=IMPORT_SECONDS
    )
    return cast(Import, getattr(response, "import"))


def _messages(path: Path, sent: Callable[[int], None]) -> Iterator[ImportHistoryRequest]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        header = ImportHeader(
            parent="users/me", file_name=path.name, size_bytes=path.stat().st_size, sha256=digest
        )
        yield ImportHistoryRequest(header=header)
        file.seek(0)
        offset = 0
        while data := file.read(CHUNK_BYTES):
            chunk = ImportChunk(offset=offset, data=data, crc32c=google_crc32c.value(data))
            yield ImportHistoryRequest(chunk=chunk)
            offset += len(data)
            sent(len(data))
