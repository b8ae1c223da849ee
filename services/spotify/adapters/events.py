"""Events through the outbox."""

from __future__ import annotations

from polyphony.spotify.v1 import history_events_pb2 as pb
from services.runtime.persistence import Transaction
from services.spotify.model import Import


class OutboxEvents:
    """See `ports.Events`."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def import_completed(self, done: Import) -> None:
        """A file was read to its end."""
        message = pb.ImportCompleted(user=done.user, plays_imported=done.counts.imported)
        setattr(message, "import", done.id)
        self._tx.emit(message, subject=f"users/{done.user}/imports/{done.id}")

    def history_deleted(self, user: str) -> None:
        """A person deleted their history."""
        self._tx.emit(pb.HistoryDeleted(user=user), subject=f"users/{user}/history")

    def history_undeleted(self, user: str) -> None:
        """A person brought their history back."""
        self._tx.emit(pb.HistoryUndeleted(user=user), subject=f"users/{user}/history")
