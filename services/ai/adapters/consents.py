"""What a person permits now, from the consent state that the road of this process decides with."""

from __future__ import annotations

from interceptors.ports import ConsentLedger, ConsentState
from interceptors.steps.consent import refusal
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
        raise refusal(PURPOSE, verdict.state)
