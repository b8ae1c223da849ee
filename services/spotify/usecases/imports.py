"""Begin, advance and end an import; get and list imports. Each is one transaction."""

from __future__ import annotations

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.spotify.model import Import, ImportState, Portion, Prefix
from services.spotify.ports import KnownContents, Stores


def begin_import(
    stores: Stores, *, user: str, identifier: str, file_name: str, sha256: bytes, size_bytes: int
) -> Import:
    """The import of a file: a new one called `identifier`, or the one that the same content began before.

    One that succeeded is returned as it is; any other is taken up again, and the stream that carried it before can
    commit no more.
    """
    history = stores.histories.current(user) or stores.histories.begin(user)
    known = stores.imports.find(history.id, sha256)
    if known is None:
        new = Import(identifier, user, history.id, file_name, sha256, size_bytes, stores.now, stores.now)
        stores.imports.add(new)
        return new
    if known.state is not ImportState.SUCCEEDED:
        known.take_up(stores.now)
        stores.imports.save(known)
    return known


def advance_import(
    stores: Stores, begun: Import, portion: Portion, prefix: Prefix, known: KnownContents
) -> Import:
    """Store a portion and move the checkpoint with it. Raises Fault STATE_CONFLICT where another stream took the import
    over, or the history was deleted."""
    current = _mine(stores, begun)
    imported = stores.plays.add(current.history, current.user, portion.plays, known)
    if not stores.histories.grow(current.history, imported):
        raise _deleted()
    current.advance(portion, imported, prefix, stores.now)
    stores.imports.save(current)
    return current


def end_import(stores: Stores, begun: Import, state: ImportState, failure: str = "") -> Import:
    """Close the attempt that `begun` started. Raises Fault STATE_CONFLICT as `advance_import` does."""
    current = _mine(stores, begun)
    current.end(state, stores.now, failure)
    if state is ImportState.SUCCEEDED:
        current.prefix = Prefix(current.size_bytes, current.sha256)
        stores.events.import_completed(current)
    stores.imports.save(current)
    return current


def get_import(stores: Stores, *, user: str, identifier: str) -> Import:
    """One import. Raises Fault RESOURCE_NOT_FOUND."""
    found = stores.imports.get(user, identifier)
    if found is None:
        raise Fault(
            reason_pb2.REASON_RESOURCE_NOT_FOUND,
            "The import does not exist, or not for this caller.",
            metadata={"resource": f"users/{user}/imports/{identifier}"},
        )
    return found


def list_imports(stores: Stores, *, user: str, size: int, token: str) -> tuple[list[Import], str]:
    """One page of imports, newest first and without their reports. Raises Fault PAGE_TOKEN_INVALID."""
    return stores.imports.page(user, size, token)


def _mine(stores: Stores, begun: Import) -> Import:
    current = stores.imports.get(begun.user, begun.id)
    if current is None:
        raise _deleted()
    if current.attempt != begun.attempt:
        raise Fault(reason_pb2.REASON_STATE_CONFLICT, "Another stream has taken this import over.")
    return current


def _deleted() -> Fault:
    return Fault(reason_pb2.REASON_STATE_CONFLICT, "The history was deleted during the import.")
