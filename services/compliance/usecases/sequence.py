"""Taking records into a log. One transaction at a time holds a log, so that its order is the order of commits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from services.compliance.merkle import leaf_hash
from services.compliance.ports import Leaf, Log
from services.compliance.tiles import TiledTree

Record = TypeVar("Record")


def sequence(log: Log, records: Mapping[str, Record], to_leaf: Callable[[Record], Leaf]) -> int:
    """Appends ``records`` (by id, in their order) and answers how many were new.

    A record whose id the log has is left as it is, whatever it says now: a retry is safe and history stays.
    """
    size = log.lock()
    known = log.known(list(records))
    leaves = [to_leaf(record) for identifier, record in records.items() if identifier not in known]
    if leaves:
        TiledTree(log).append(size, [leaf_hash(leaf.encoded) for leaf in leaves])
        log.extend(size, leaves)
    return len(leaves)
