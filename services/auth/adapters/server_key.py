"""The secret of the auth domain: 32 random bytes in a file that only its owner can read, made at the first
start.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from services.runtime.keyring import KEY_BYTES, Keyring
from services.runtime.settings import owner_only


def read_or_make_server_key(path: Path) -> bytes:
    """The key in `path`, made there if nothing is. Raises ValueError when the file is too open or too
    short.

    Of processes that start together, one makes it; another may find the file not yet written and then says
    so.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        with contextlib.suppress(FileExistsError):
            Keyring.create_file(path)
    key = owner_only(path).read_bytes()
    if len(key) < KEY_BYTES:
        raise ValueError(f"{path} holds {len(key)} bytes instead of at least {KEY_BYTES}")
    return key
