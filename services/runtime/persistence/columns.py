"""Column types that mean the same on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Dialect, LargeBinary, MetaData
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """Return microseconds since the Unix epoch; raises ``ValueError`` for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError("a stored time needs a time zone")
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """Return the UTC time of a number of microseconds since the Unix epoch."""
    return _EPOCH + timedelta(microseconds=value)


class Instant(TypeDecorator[datetime]):
    """A point in time, kept as integer microseconds since the Unix epoch and read as an aware UTC ``datetime``.

    SQLite has no time type, and its text form loses the zone; an integer sorts, compares and indexes alike in both.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_microseconds(value)


class Sealed(TypeDecorator[bytes]):
    """Ciphertext under the data key of the person it speaks of; see :meth:`SubjectKeys.of`.

    ``field`` is the full proto name of the field whose FieldPolicy demands the protection; ``more`` names the others
    where one value holds several. The type cannot encrypt by itself (the associated data needs tenant, subject and
    row); it refuses anything that was not sealed, so that plain text cannot slip into the column.
    """

    impl = LargeBinary
    cache_ok = True

    VERSION = 1
    """First byte of every sealed value."""
    OVERHEAD = 1 + 12 + 16
    """Bytes added by sealing: version, nonce, authentication tag."""

    def __init__(self, field: str, *more: str) -> None:
        super().__init__()
        self.field = field
        self.fields = (field, *more)

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        if value is None:
            return None
        if not isinstance(value, bytes) or len(value) < self.OVERHEAD or value[0] != self.VERSION:
            raise ValueError(f"the column of {self.field} takes sealed bytes only")
        return value


class BlindIndex(TypeDecorator[bytes]):
    """Keyed digest (HMAC-SHA-256) of the normalised value of ``field``: equality search without the value."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, field: str) -> None:
        super().__init__()
        self.field = field
        self.fields = (field,)

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:
        if value is not None and (not isinstance(value, bytes) or len(value) != 32):
            raise ValueError(f"the column of {self.field} takes a blind index only")
        return value


def protected_fields(metadata: MetaData) -> dict[str, list[str]]:
    """Map each proto field that has sealed or blind-index columns to their names (``table.column``)."""
    found: dict[str, list[str]] = {}
    for table in metadata.sorted_tables:
        for column in table.columns:
            kind: Any = column.type
            if isinstance(kind, Sealed | BlindIndex):
                for field in kind.fields:
                    found.setdefault(field, []).append(f"{table.name}.{column.name}")
    return found
