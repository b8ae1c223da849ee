"""Tables that the runtime keeps in every domain's database, migrated by the runtime's own revisions."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, PrimaryKeyConstraint, String, Table

from services.runtime.persistence.columns import Instant
from services.runtime.persistence.entities import domain_metadata

RUNTIME = domain_metadata()

audit_outbox = Table(
    "audit_outbox",
    RUNTIME,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("state", Integer, nullable=False),
    Column("owner", String(64), nullable=False),
    Column("record", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""Audit records on their way to the ledger; ``owner`` is the process that will finish a pending one. Ids are
time-ordered, so one clustered tree serves appending, relaying in order and recovery: a second index would only cost
writes on a table that is emptied as fast as it fills."""

PENDING, READY, REFUSED = 0, 1, 2
"""``audit_outbox.state``: the call still runs; the record is final; the ledger refused it, and here it stays."""

event_outbox = Table(
    "event_outbox",
    RUNTIME,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("type", String(200), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("time", Instant, nullable=False),
    Column("trace_parent", String(64), nullable=False),
    Column("data", LargeBinary, nullable=False),
)
"""Domain events on their way to Redis Streams."""

processed_events = Table(
    "processed_events",
    RUNTIME,
    Column("consumer", String(100), nullable=False),
    Column("id", String(64), nullable=False),
    Column("time", Instant, nullable=False, index=True),
    PrimaryKeyConstraint("consumer", "id"),
)
"""Events that a consumer has handled: delivery is at least once, handling exactly once."""

idempotency_keys = Table(
    "idempotency_keys",
    RUNTIME,
    Column("tenant", String(64), nullable=False),
    Column("actor", String(128), nullable=False),
    Column("method", String(200), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("response", LargeBinary),
    Column("expire_time", Instant, nullable=False, index=True),
    PrimaryKeyConstraint("tenant", "actor", "method", "request_id"),
)
"""Answers by request id (AIP-155)."""

subject_keys = Table(
    "subject_keys",
    RUNTIME,
    Column("tenant", String(64), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("kek", String(32), nullable=False),
    Column("wrapped", LargeBinary),
    Column("create_time", Instant, nullable=False),
    Column("destroy_time", Instant),
    PrimaryKeyConstraint("tenant", "subject"),
)
"""Data keys, each wrapped by the key-encryption key named in ``kek``; ``wrapped`` is null once destroyed."""

feed_workers = Table(
    "feed_workers",
    RUNTIME,
    Column("feed", String(64), nullable=False),
    Column("worker", String(64), nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("acknowledged", BigInteger, nullable=False),
    PrimaryKeyConstraint("feed", "worker"),
)
"""How far the followers of each process that serves a feed have come; see :mod:`services.runtime.feeds`."""
