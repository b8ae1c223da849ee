"""AuditLedgerService: takes the records of the other services into the ledger."""

from __future__ import annotations

from typing import Any

from interceptors.call import current_call
from interceptors.faults import Fault
from polyphony.compliance.v1 import audit_ledger_service_pb2 as pb
from polyphony.compliance.v1.audit_ledger_service_pb2_grpc import AuditLedgerServiceServicer
from polyphony.errors.v1 import reason_pb2
from services.compliance.adapters.leaves import RecordMalformed
from services.compliance.ledger import Ledger


class AuditLedgerService(AuditLedgerServiceServicer):
    """The way into the ledger; its own calls leave no record, because that would never end."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def AppendRecords(self, request: pb.AppendRecordsRequest, context: Any) -> pb.AppendRecordsResponse:
        """Takes the records, each once, however often they are sent."""
        try:
            appended = await self._ledger.append(request.records, of=_sender())
        except RecordMalformed as error:
            raise Fault(reason_pb2.REASON_REQUEST_INVALID, f"{error}.", field="records") from None
        return pb.AppendRecordsResponse(appended=appended)


def _sender() -> str:
    """The service that sends the records; the method accepts no other credential than a service's."""
    call = current_call()
    if call is None:
        raise RuntimeError("the sender is known inside a call only")
    return (call.identity.actor or call.identity.user).removeprefix("service:")
