"""Settles what the call is for, and refuses it where its subject has not consented to that."""

from __future__ import annotations

from interceptors.call import Call
from interceptors.contract import MethodContract
from interceptors.faults import Fault, Precondition
from interceptors.ports import ConsentState
from interceptors.purposes import PURPOSE_IDS, PURPOSE_METADATA, PURPOSE_NUMBERS, PURPOSES
from interceptors.step import Endpoint, Road
from polyphony.errors.v1 import reason_pb2
from polyphony.policy.v1 import policy_pb2


def consent(road: Road, method: MethodContract, onward: Endpoint) -> Endpoint:
    """Choose the purpose (the credential's, the caller's, else the method's first) and check its legal basis."""
    purposes = method.purposes
    default = next(iter(purposes))
    served = ", ".join(PURPOSE_IDS[purpose] for purpose in purposes)
    consents, streams = road.consents, method.streams

    def choose(call: Call) -> int:
        asked = call.metadata.get(PURPOSE_METADATA, "")
        limit = call.identity.purpose
        if not asked and not limit:
            return default
        chosen = PURPOSE_NUMBERS.get(asked or limit, 0)
        if chosen not in purposes or (limit and asked and asked != limit):
            raise Fault(
                reason_pb2.REASON_PURPOSE_NOT_PERMITTED,
                f"{method.name} serves {served}; the call may not be made for {(asked or limit)[:64]!r}.",
                metadata={"served": served},
            )
        return chosen

    def check(call: Call) -> None:
        assert consents is not None
        verdict = call.consent = consents.check(call.identity.tenant, call.subject, call.purpose)
        if verdict.state is not ConsentState.GRANTED:
            raise refusal(call.purpose, verdict.state)

    async def consented(call: Call) -> bytes | None:
        call.step = "consent"
        call.purpose = choose(call)
        if purposes[call.purpose] == policy_pb2.LEGAL_BASIS_CONSENT:
            check(call)
            if streams:
                call.rechecks.append(lambda: check(call))
        return await onward(call)

    return consented


def refusal(purpose: int, state: ConsentState) -> Fault:
    """The fault of a call whose subject has not consented, or not any more."""
    withdrawn = state is ConsentState.WITHDRAWN
    title = PURPOSES[purpose].title
    message = (
        f"The consent to “{title}” was withdrawn." if withdrawn else f"There is no consent to “{title}”."
    )
    return Fault(
        reason_pb2.REASON_CONSENT_WITHDRAWN if withdrawn else reason_pb2.REASON_CONSENT_REQUIRED,
        message,
        preconditions=[Precondition("CONSENT", PURPOSE_IDS[purpose], message)],
        metadata={"purpose": PURPOSE_IDS[purpose]},
    )
