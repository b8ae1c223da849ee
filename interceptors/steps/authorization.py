"""Decides whether the caller's roles grant the method's permission."""

from __future__ import annotations

from interceptors.call import Call
from interceptors.contract import MethodContract
from interceptors.faults import Fault
from interceptors.step import Endpoint, Road
from polyphony.errors.v1 import reason_pb2


def authorization(road: Road, method: MethodContract, onward: Endpoint) -> Endpoint:
    """Look the permission up in the policy snapshot; the decision and its rule stay with the call."""
    permission = method.policy.permission
    if not permission:
        return onward
    assert road.authorizer is not None
    decide, streams = road.authorizer.decide, method.streams

    def check(call: Call) -> None:
        decision = call.decision = decide(call.identity, permission)
        if not decision.allowed:
            raise Fault(
                reason_pb2.REASON_PERMISSION_DENIED,
                f"Your roles do not grant {permission}.",
                metadata={"permission": permission, "rule": decision.rule},
            )

    async def authorized(call: Call) -> bytes | None:
        call.step = "authorization"
        check(call)
        if streams:
            call.rechecks.append(lambda: check(call))
        return await onward(call)

    return authorized
