"""Refuses what is too much: by caller, and by what the process can carry."""

from __future__ import annotations

from interceptors.call import Call
from interceptors.contract import MethodContract
from interceptors.faults import Fault
from interceptors.step import Endpoint, Road
from polyphony.errors.v1 import reason_pb2
from polyphony.policy.v1 import policy_pb2

AUTHORIZATION_METADATA = "authorization"

FORWARDED_METADATA = "x-forwarded-for"
"""The edge appends the address that it was called from; what a client wrote before that is not believed."""


def limits(road: Road, method: MethodContract, onward: Endpoint) -> Endpoint:
    """Take the call's cost from its caller's budget and a place among the calls in flight; refuse oversize requests."""
    limiter = road.limiter
    cost, priority, most = method.cost, method.priority, method.max_request_bytes
    # Where no token is read, an invented one for each call would buy each call a budget of its own.
    reads_token = method.credentials != {policy_pb2.CREDENTIAL_PUBLIC}

    def check_size(body: bytes) -> None:
        if len(body) > most:
            raise Fault(
                reason_pb2.REASON_REQUEST_TOO_LARGE,
                f"The request has {len(body)} bytes; {method.name} accepts {most}.",
                metadata={"limit_bytes": str(most), "size_bytes": str(len(body))},
            )

    async def sized(call: Call) -> bytes | None:
        call.step = "limits"
        if call.body is not None:
            check_size(call.body)
        elif (receive := call.incoming) is not None:

            async def checked() -> bytes | None:
                if (body := await receive()) is not None:
                    check_size(body)
                return body

            call.incoming = checked
        return await onward(call)

    async def admitted(call: Call) -> bytes | None:
        assert limiter is not None
        call.step = "limits"
        forwarded = call.metadata.get(FORWARDED_METADATA, "")
        origin = forwarded.rpartition(",")[2].strip() or call.peer
        credential = call.metadata.get(AUTHORIZATION_METADATA, "") if reads_token else ""
        limiter.admit(credential, origin, cost, priority)
        try:
            return await sized(call)
        finally:
            limiter.release()

    return sized if limiter is None else admitted
