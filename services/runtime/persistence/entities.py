"""What entities share: the tenant, a revision with its etag, soft deletion."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import MetaData, String, inspect
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.runtime.persistence.columns import Instant

SYSTEM = "*"
"""The scope of relays and jobs that work across tenants. No tenant may have this id."""


def domain_metadata() -> MetaData:
    """Return the metadata of one domain's tables; constraints get predictable names, which migrations need."""
    return MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class TenantScoped:
    """A row that belongs to one tenant. The session sets ``tenant`` on insert and adds it to every statement."""

    tenant: Mapped[str] = mapped_column(String(64), nullable=False, index=True)


class Revisioned:
    """A row with a revision, counted up by every update; two writers of one revision cannot both succeed."""

    revision: Mapped[int] = mapped_column(nullable=False)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:
        return {"version_id_col": cls.revision}

    @property
    def etag(self) -> str:
        """The opaque version of the row (AIP-154); flush before reading it from a changed row."""
        state = inspect(self)
        parts = (state.mapper.local_table.name, *map(str, state.identity or ()), str(self.revision))
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=9).hexdigest()

    def check_etag(self, etag: str) -> None:
        """Pass when ``etag`` is empty or current; raises ``Fault(ETAG_MISMATCH)`` otherwise."""
        if etag and etag != self.etag:
            raise Fault(reason_pb2.REASON_ETAG_MISMATCH, "The resource has changed since this etag was read.")


class SoftDeleted:
    """A row that is hidden when deleted, and removed for good when its time of purge has come (AIP-164)."""

    delete_time: Mapped[datetime | None] = mapped_column(Instant)
    purge_time: Mapped[datetime | None] = mapped_column(Instant, index=True)

    @property
    def deleted(self) -> bool:
        """Whether the row is deleted and not yet purged."""
        return self.delete_time is not None

    def mark_deleted(self, now: datetime, *, keep: timedelta) -> None:
        """Hide the row now; it can be undeleted until ``now + keep``. Deleting twice keeps the first times."""
        if self.delete_time is None:
            self.delete_time = now
            self.purge_time = now + keep

    def undelete(self) -> None:
        """Show the row again; raises ``Fault(STATE_CONFLICT)`` when it is not deleted."""
        if self.delete_time is None:
            raise Fault(reason_pb2.REASON_STATE_CONFLICT, "The resource is not deleted.")
        self.delete_time = None
        self.purge_time = None
