"""What a person permits now, from the consent state that the road of this process decides with."""

from __future__ import annotations

from interceptors.faults import Fault, Precondition
from interceptors.ports import ConsentLedger, ConsentState
from interceptors.purposes import PURPOSE_IDS
from polyphony.errors.v1 import reason_pb2
from polyphony.policy.v1 import policy_pb2

PURPOSE = policy_pb2.PURPOSE_PERSONALISED_RECOMMENDATIONS


class LedgerConsents:
    """Asks the ConsentLedger port of the road."""

    def __init__(self, ledger: ConsentLedger) -> None:
        """`ledger` is the same one that the consent step asks."""
        self._ledger = ledger

    def require(self, tenant: str, user: str) -> str:
        """The id of the consent entry. Raises Fault CONSENT_REQUIRED, CONSENT_WITHDRAWN or CONSENT_STALE."""
        verdict = self._ledger.check(tenant, user, PURPOSE)
        if verdict.state == ConsentState.GRANTED:
            return verdict.record
        withdrawn = verdict.state == ConsentState.WITHDRAWN
        raise Fault(
            reason_pb2.REASON_CONSENT_WITHDRAWN if withdrawn else reason_pb2.REASON_CONSENT_REQUIRED,
            preconditions=[
                Precondition(
                    "CONSENT",
                    PURPOSE_IDS[PURPOSE],
                    "Personalised recommendations need this person's consent.",
                )
            ],
        )
