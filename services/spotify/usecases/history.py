"""Delete a history, bring it back, purge it."""

from __future__ import annotations

from datetime import timedelta

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.spotify.model import History
from services.spotify.ports import Stores


def delete_history(stores: Stores, *, user: str, etag: str, keep: timedelta) -> History:
    """Hide a person's history for `keep`, then it is purged. Raises Fault RESOURCE_NOT_FOUND, ETAG_MISMATCH."""
    history = stores.histories.current(user)
    if history is None:
        raise _not_found(user)
    stores.events.history_deleted(user)
    return stores.histories.delete(history.id, etag, keep)


def undelete_history(stores: Stores, *, user: str, etag: str) -> History:
    """Show the history that was deleted last. Raises Fault RESOURCE_NOT_FOUND, ETAG_MISMATCH, and RESOURCE_EXISTS
    where an import has begun a new one since."""
    deleted = stores.histories.last_deleted(user)
    if deleted is None:
        raise _not_found(user)
    if stores.histories.current(user) is not None:
        raise Fault(
            reason_pb2.REASON_RESOURCE_EXISTS, "A new history was begun after the deletion; delete it first."
        )
    stores.events.history_undeleted(user)
    return stores.histories.undelete(deleted.id, etag)


def _not_found(user: str) -> Fault:
    return Fault(
        reason_pb2.REASON_RESOURCE_NOT_FOUND,
        "The history does not exist, or not for this caller.",
        metadata={"resource": f"users/{user}/history"},
    )
