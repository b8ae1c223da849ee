"""The signer of checkpoints: once a second it commits, in public, to what the log says.

It signs a log only after proving, from the log's own tree, that the log still begins with everything signed before.
A log that was cut or rewritten is never signed again; what was signed last stays as the evidence.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from prometheus_client import Gauge
from sqlalchemy import select

from services.compliance.adapters.checkpoint_file import CheckpointFile, SignedCheckpoint
from services.compliance.adapters.log import SqlLog
from services.compliance.adapters.tables import LedgerLog
from services.compliance.checkpoint import Checkpoint, CheckpointSigner
from services.compliance.merkle import EMPTY_ROOT, ProofError, consistency_proof, verify_consistency
from services.compliance.tiles import TiledTree
from services.runtime.persistence import SYSTEM, Database, Transaction

_LOG = logging.getLogger(__name__)
_BROKEN = Gauge("polyphony_ledger_broken_logs", "Logs that no longer begin with what was signed for them.")


def origin_of(tenant: str) -> str:
    """The name of a tenant's log, which is also the name of its signing key."""
    return f"polyphony/{tenant}"


class LogBroken(Exception):
    """The log contradicts what was signed for it, so that nothing newer is ever signed."""


@dataclass(frozen=True, slots=True)
class _Head:
    size: int
    root: bytes
    since: Sequence[bytes]
    """Proof of consistency with the last checkpoint."""


class CheckpointSigning:
    """Signs every log that has grown. ``interval`` is in seconds. Several workers may sign: the first one's stands."""

    def __init__(
        self, database: Database, file: CheckpointFile, key: Ed25519PrivateKey, *, interval: float = 1.0
    ) -> None:
        self._database = database
        self._file = file
        self._key = key
        self._interval = interval
        self._signed: dict[str, int] = {}
        self.broken: set[str] = set()
        """Tenants whose log contradicts its last checkpoint."""
        self.public_key = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        """32 bytes of Ed25519."""

    async def run(self) -> None:
        """Signs until cancelled. A database or a disk that fails is tried again: what is not signed yet waits."""
        while True:
            try:
                await self.sign_grown()
            except Exception:
                _LOG.exception("checkpoints could not be signed")
            await asyncio.sleep(self._interval)

    async def newest(self, tenant: str) -> SignedCheckpoint | None:
        """The last checkpoint of a tenant's log."""
        return await asyncio.to_thread(self._file.newest, origin_of(tenant))

    async def covering(self, tenant: str, index: int) -> SignedCheckpoint:
        """The newest checkpoint, once there is one that covers the record at ``index``; the caller bounds the wait.

        Raises :class:`LogBroken` where there will never be one.
        """
        while True:
            signed = await self.newest(tenant)
            if signed is not None and signed.checkpoint.size > index:
                return signed
            if tenant in self.broken:
                raise LogBroken(tenant)
            await asyncio.sleep(self._interval / 10)

    async def sign_grown(self) -> None:
        """Signs every log that has grown since it was last signed."""
        for tenant, size in await self._database.read(_sizes, tenant=SYSTEM):
            if self._signed.get(tenant) != size and tenant not in self.broken:
                await self._sign(tenant)

    async def _sign(self, tenant: str) -> None:
        last = await self.newest(tenant)
        before = last.checkpoint if last is not None else Checkpoint(origin_of(tenant), 0, EMPTY_ROOT)
        try:
            head = await self._database.read(lambda tx: _head(tx, tenant, before.size), tenant=tenant)
            if before.size:
                verify_consistency(before.size, head.size, before.root, head.root, head.since)
        except (ProofError, LookupError) as error:
            self.broken.add(tenant)
            _BROKEN.set(len(self.broken))
            _LOG.critical(
                "the audit log of tenant %s contradicts its checkpoint of %d records and is not signed any more: %s",
                tenant,
                before.size,
                error,
            )
            return
        if head.size > before.size:
            checkpoint = Checkpoint(before.origin, head.size, head.root)
            note = CheckpointSigner(checkpoint.origin, self._key).sign(checkpoint)
            await asyncio.to_thread(self._file.put, SignedCheckpoint(checkpoint, note, time.time_ns()))
        self._signed[tenant] = head.size


def _sizes(tx: Transaction) -> list[tuple[str, int]]:
    return [(tenant, size) for tenant, size in tx.session.execute(select(LedgerLog.tenant, LedgerLog.size))]


def _head(tx: Transaction, tenant: str, signed: int) -> _Head:
    log = SqlLog(tx, tenant)
    tree, size = TiledTree(log), log.size()
    return _Head(size, tree.root(size), consistency_proof(tree.node, signed, size) if signed else ())
