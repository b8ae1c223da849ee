"""AuditService: a person's records, and the proof of each."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from interceptors.call import current_call
from interceptors.faults import Fault
from interceptors.ids import id_time
from polyphony.compliance.v1 import audit_service_pb2 as pb
from polyphony.compliance.v1 import record_pb2
from polyphony.compliance.v1.audit_service_pb2_grpc import AuditServiceServicer
from polyphony.errors.v1 import reason_pb2
from services.compliance.adapters.checkpoint_file import SignedCheckpoint
from services.compliance.ledger import Found, Ledger
from services.compliance.merkle import ProofError
from services.compliance.signing import CheckpointSigning, LogBroken

DEFAULT_PAGE_SIZE = 50
RELAY_SECONDS = 5.0
"""How long a record may be on its way from the call it tells of to the ledger, before it counts as absent."""


class AuditService(AuditServiceServicer):
    """What was done, and the proof of it."""

    def __init__(self, ledger: Ledger, signing: CheckpointSigning) -> None:
        self._ledger = ledger
        self._signing = signing

    async def ListRecords(self, request: pb.ListRecordsRequest, context: Any) -> pb.ListRecordsResponse:
        """The records about a person, newest first."""
        user = _part(request.parent, 1)
        page = await self._ledger.page(
            user, size=request.page_size or DEFAULT_PAGE_SIZE, token=request.page_token, parent=request.parent
        )
        return pb.ListRecordsResponse(
            records=[_record(user, found) for found in page.items], next_page_token=page.next_page_token
        )

    async def GetProof(self, request: pb.GetProofRequest, context: Any) -> pb.GetProofResponse:
        """A record, its stored bytes and the way from them to a signed root; waits for the checkpoint if need be."""
        user, identifier = _part(request.name, 1), _part(request.name, 3)
        found = await self._await_record(user, identifier)
        if found is None:
            raise Fault(
                reason_pb2.REASON_RESOURCE_NOT_FOUND,
                "The log has no record of this id about this person.",
                metadata={"resource": request.name},
            )
        try:
            signed = await self._signing.covering(_tenant(), found.index)
        except LogBroken:
            raise Fault(
                reason_pb2.REASON_STATE_CONFLICT,
                "The log contradicts its last checkpoint: nothing newer is proven. Its operator has been alarmed.",
            ) from None
        hashes = await self._ledger.prove(found.index, signed.checkpoint.size)
        return pb.GetProofResponse(
            record=_record(user, found),
            leaf=found.leaf,
            proof=record_pb2.InclusionProof(index=found.index, hashes=hashes),
            checkpoint=self._checkpoint(signed),
        )

    async def GetCheckpoint(self, request: pb.GetCheckpointRequest, context: Any) -> pb.GetCheckpointResponse:
        """The newest checkpoint of the caller's tenant, and the proof that it continues an older one."""
        signed = await self._signing.newest(_tenant())
        if signed is None:
            raise Fault(
                reason_pb2.REASON_RESOURCE_NOT_FOUND,
                "The tenant's log is empty: nothing was signed for it yet.",
            )
        hashes: list[bytes] = []
        if request.since_size:
            try:
                hashes = await self._ledger.prove_growth(request.since_size, signed.checkpoint.size)
            except ProofError:
                raise Fault(
                    reason_pb2.REASON_REQUEST_INVALID,
                    f"The newest checkpoint is of {signed.checkpoint.size} records, fewer than that.",
                    field="since_size",
                ) from None
        return pb.GetCheckpointResponse(checkpoint=self._checkpoint(signed), consistency=hashes)

    async def WatchRecords(
        self, request: pb.WatchRecordsRequest, context: Any
    ) -> AsyncIterator[pb.WatchRecordsResponse]:
        """The records that the ledger takes from now on, in the order of the log, until the caller ends the call."""
        user = _part(request.parent, 1)
        next_index = await self._ledger.size()
        while True:
            for found in await self._ledger.since(user, next_index):
                yield pb.WatchRecordsResponse(record=_record(user, found))
                next_index = found.index + 1
            await self._ledger.wait_for_growth()

    async def _await_record(self, user: str, identifier: str) -> Found | None:
        """The record, waiting for one so young that it may still be on its way."""
        while True:
            found = await self._ledger.find(user, identifier)
            if found is not None or not _recent(identifier):
                return found
            await self._ledger.wait_for_growth()

    def _checkpoint(self, signed: SignedCheckpoint) -> record_pb2.Checkpoint:
        sign_time = Timestamp()
        sign_time.FromNanoseconds(signed.signed_unix_nanos)
        return record_pb2.Checkpoint(
            origin=signed.checkpoint.origin,
            size=signed.checkpoint.size,
            root=signed.checkpoint.root,
            note=signed.note,
            public_key=self._signing.public_key,
            sign_time=sign_time,
        )


def _record(user: str, found: Found) -> record_pb2.Record:
    start = Timestamp()
    start.FromNanoseconds(found.record.start_unix_nanos)
    return record_pb2.Record(
        name=f"users/{user}/records/{found.record.id}",
        index=found.index,
        start_time=start,
        record=found.record,
        erased=found.erased,
    )


def _recent(identifier: str) -> bool:
    """Whether an audit id was made so lately that its record may not have arrived."""
    try:
        return abs(time.time() - id_time(identifier)) < RELAY_SECONDS
    except ValueError:
        return False


def _part(name: str, index: int) -> str:
    """A part of a resource name, whose pattern the road has checked."""
    return name.split("/")[index]


def _tenant() -> str:
    call = current_call()
    if call is None:
        raise RuntimeError("the caller's tenant is known inside a call only")
    return call.identity.tenant
