"""Keyset pagination with sealed page tokens (AIP-158)."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import ColumnElement, Select, UnaryExpression, and_, or_
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql import operators

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.runtime.persistence.columns import from_microseconds, to_microseconds

MAX_TOKEN_BYTES = 1024

SortKey = InstrumentedAttribute[Any] | ColumnElement[Any]
"""A mapped column, or ``column.desc()``."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of rows and the token of the next; the token is empty on the last page."""

    items: list[T]
    next_page_token: str


class PageTokens:
    """Seals the position of a listing, so that a client can neither read, change nor move it.

    AES-256-GCM: a token is authenticated together with the tenant, the method and the request fields that shape the
    listing, so it is worth nothing for another tenant, another method or another filter. Any worker that holds the
    same key opens it, before and after a restart.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, position: Sequence[Any], *, tenant: str, method: str, bound: Sequence[Any] = ()) -> str:
        """Return the token of a position: the sort values of the last row of a page."""
        nonce = os.urandom(12)
        sealed = self._cipher.encrypt(
            nonce, msgspec.msgpack.encode([_pack(v) for v in position]), _scope(tenant, method, bound)
        )
        return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")

    def open(self, token: str, *, tenant: str, method: str, bound: Sequence[Any] = ()) -> list[Any]:
        """Return the position of a token; raises ``Fault(PAGE_TOKEN_INVALID)`` for one not made for this listing."""
        try:
            if len(token) > MAX_TOKEN_BYTES:
                raise ValueError
            raw = base64.b64decode(
                token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True
            )
            position = msgspec.msgpack.decode(
                self._cipher.decrypt(raw[:12], raw[12:], _scope(tenant, method, bound))
            )
        except (ValueError, InvalidTag, msgspec.DecodeError):
            raise Fault(
                reason_pb2.REASON_PAGE_TOKEN_INVALID,
                "The page token was not made by this method for this caller and filter.",
                field="page_token",
            ) from None
        return [_unpack(value) for value in position]


def _scope(tenant: str, method: str, bound: Sequence[Any]) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode([tenant, method, [str(value) for value in bound]])).digest()


def _pack(value: Any) -> Any:
    # A one-element list marks a time: keys of a listing are numbers, texts, bytes or times, never lists.
    return [to_microseconds(value)] if isinstance(value, datetime) else value


def _unpack(value: Any) -> Any:
    return from_microseconds(value[0]) if isinstance(value, list) else value


def keyset(statement: Select[Any], by: Sequence[SortKey], after: Sequence[Any] | None) -> Select[Any]:
    """Order a statement by ``by`` and start it after a position; a key may be ``column.desc()``.

    Raises ``Fault(PAGE_TOKEN_INVALID)`` when the position does not fit the keys (the listing's order has changed).
    """
    columns: list[tuple[Any, bool]] = list(zip(key_columns(by), map(_descends, by), strict=True))
    if after is not None:
        if len(after) != len(columns):
            raise Fault(reason_pb2.REASON_PAGE_TOKEN_INVALID, field="page_token")
        first, descends = columns[0]
        # Says nothing new, but lets the database seek in the index where OR alone would make it scan.
        statement = statement.where(first <= after[0] if descends else first >= after[0])
        alternatives = []
        for index, (column, descends) in enumerate(columns):
            equal = [earlier == after[i] for i, (earlier, _) in enumerate(columns[:index])]
            beyond = column < after[index] if descends else column > after[index]
            alternatives.append(and_(*equal, beyond))
        statement = statement.where(or_(*alternatives))
    return statement.order_by(*by)


def key_columns(by: Sequence[SortKey]) -> list[Any]:
    """The sort columns without their direction."""
    return [key.element if isinstance(key, UnaryExpression) else key for key in by]


def _descends(key: Any) -> bool:
    return isinstance(key, UnaryExpression) and key.modifier is operators.desc_op
