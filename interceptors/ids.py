"""Identifiers of rows, records and events."""

from __future__ import annotations

import os
import threading
import time

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """Return a UUIDv7 (RFC 9562, section 5.7) as lower-case text with dashes.

    The first 60 bits are the Unix time in units of 1/4096 millisecond (RFC 9562, section 6.2, method 3), so ids
    sort by creation time; within one process they are strictly increasing even when the clock stands still or
    steps back. The other 62 bits are random: an id cannot be guessed from another one.
    """
    global _last
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    stamp = (milliseconds << 12) | (nanoseconds << 12) // 1_000_000
    with _lock:
        if stamp <= _last:
            stamp = _last + 1
        _last = stamp
    random = int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF
    value = (stamp >> 12) << 80 | 0x7000 << 64 | (stamp & 0xFFF) << 64 | 0x8000_0000_0000_0000 | random
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def id_time(identifier: str) -> float:
    """Return the creation time of an id made by :func:`new_id`, in seconds since the Unix epoch.

    Raises ``ValueError`` when the text is no UUIDv7.
    """
    digits = identifier.replace("-", "")
    if len(digits) != 32 or digits[12] != "7":
        raise ValueError("not a UUIDv7")
    return int(digits[:12], 16) / 1000
