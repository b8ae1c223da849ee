"""What the ai domain does when other domains tell that data or a consent is gone."""

from __future__ import annotations

import logging

from interceptors.faults import Fault
from polyphony.compliance.v1.consent_events_pb2 import ConsentWithdrawn
from polyphony.errors.v1 import reason_pb2
from polyphony.policy.v1 import policy_pb2
from polyphony.spotify.v1.history_events_pb2 import HistoryDeleted
from services.ai.usecases.quarantine import Quarantine
from services.runtime.events import Event

WITHDRAWN = ConsentWithdrawn.DESCRIPTOR.full_name
DELETED = HistoryDeleted.DESCRIPTOR.full_name

_log = logging.getLogger(__name__)


class Withdrawals:
    """Handles events; each may come more than once and late."""

    TYPES = (WITHDRAWN, DELETED)

    def __init__(self, quarantine: Quarantine) -> None:
        """Holds what it needs."""
        self._quarantine = quarantine

    async def handle(self, event: Event) -> None:
        """Quarantine what the event takes the ground from; other events are none of this domain's business."""
        if event.type == WITHDRAWN:
            withdrawn = event.message(ConsentWithdrawn)
            if withdrawn.purpose != policy_pb2.PURPOSE_PERSONALISED_RECOMMENDATIONS:
                return
            user, reason, message = withdrawn.user, "CONSENT_WITHDRAWN", "The consent was withdrawn."
        elif event.type == DELETED:
            user, reason = event.message(HistoryDeleted).user, "HISTORY_EMPTY"
            message = "The history that the training was to learn from was deleted."
        else:
            return
        try:
            count = await self._quarantine(
                tenant=event.tenant, user=user, before=event.time, reason=reason, message=message
            )
        except Fault as fault:
            if fault.reason != reason_pb2.REASON_MODEL_UNAVAILABLE:
                raise
            # The versions are out of use and their files are gone; the tidying unloads what Triton still holds.
            _log.warning("%s: the inference server is told later: %s", event.type, fault)
            return
        _log.info("%s: %d versions of the person are quarantined", event.type, count)
