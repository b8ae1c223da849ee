"""The consent state of a process: what each person consented to, as compliance's feed says."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing

from interceptors.faults import Fault
from interceptors.ports import ConsentState, ConsentVerdict
from polyphony.compliance.v1 import consent_feed_service_pb2 as pb
from polyphony.compliance.v1 import consent_pb2
from polyphony.errors.v1 import reason_pb2
from services.runtime.feeds import Ack, Beat, Delta, FeedFollower, Snapshot, Update

Sync = Callable[[AsyncIterator[pb.SyncConsentsRequest]], AsyncGenerator[pb.SyncConsentsResponse, None]]
"""`ConsentFeedService.SyncConsents`: a stub's method, or in compliance itself the servicer's."""

Verdicts = Mapping[tuple[str, str, int], ConsentVerdict]
"""By tenant, subject and purpose."""

_NEVER_ASKED = ConsentVerdict(ConsentState.REQUIRED)
_STATES = {
    consent_pb2.CONSENT_STATE_GRANTED: ConsentState.GRANTED,
    consent_pb2.CONSENT_STATE_WITHDRAWN: ConsentState.WITHDRAWN,
    consent_pb2.CONSENT_STATE_OUTDATED: ConsentState.REQUIRED,
}


class Consents:
    """Follows compliance's feed and fills the ConsentLedger port. Fails closed when stale."""

    def __init__(self, sync: Sync, *, follower: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._sync = sync
        self._clock = clock
        self._verdicts: dict[tuple[str, str, int], ConsentVerdict] = {}
        self._subscribers: list[Callable[[str, str], None]] = []
        self.follower: FeedFollower[Verdicts, Verdicts] = FeedFollower(
            self._connect, name=follower, replace=self._replace, apply=self._apply, clock=clock
        )

    def check(self, tenant: str, subject: str, purpose: int) -> ConsentVerdict:
        """What `subject` said to `purpose`. Raises Fault CONSENT_STALE where nobody can know."""
        if self._clock() >= self.follower.until:
            raise Fault(reason_pb2.REASON_CONSENT_STALE)
        return self._verdicts.get((tenant, subject, purpose), _NEVER_ASKED)

    def subscribe(self, changed: Callable[[str, str], None]) -> Callable[[], None]:
        """Call `changed(tenant, subject)` after each change; returns the unsubscriber."""
        self._subscribers.append(changed)
        return lambda: self._subscribers.remove(changed)

    async def _connect(self, acks: AsyncIterator[Ack]) -> AsyncGenerator[Update[Verdicts, Verdicts], None]:
        async def requests() -> AsyncIterator[pb.SyncConsentsRequest]:
            async for ack in acks:
                yield pb.SyncConsentsRequest(
                    follower=ack.follower,
                    acknowledged_version=ack.version,
                    sequence=ack.sequence,
                    leaving=ack.leaving,
                )

        content: dict[tuple[str, str, int], ConsentVerdict] = {}
        whole = False
        async with aclosing(self._sync(requests())) as messages:
            async for message in messages:
                if message.HasField("lease"):
                    yield Beat(message.version, message.echo, message.lease.ToNanoseconds() / 1e9)
                    continue
                if message.reset:
                    content, whole = {}, True
                for each in message.consents:
                    verdict = ConsentVerdict(_STATES[each.state], each.record)
                    content[each.tenant, each.subject, each.purpose] = verdict
                if not message.partial:
                    if whole:
                        yield Snapshot(message.version, content)
                    else:
                        yield Delta(message.previous_version, message.version, content)
                    content, whole = {}, False

    def _replace(self, verdicts: Verdicts) -> None:
        before, self._verdicts = self._verdicts, dict(verdicts)
        self._tell({key for key in before.keys() | verdicts.keys() if before.get(key) != verdicts.get(key)})

    def _apply(self, changes: Verdicts) -> None:
        self._verdicts.update(changes)
        self._tell(changes)

    def _tell(self, keys: Iterable[tuple[str, str, int]]) -> None:
        for tenant, subject in {(key[0], key[1]) for key in keys}:
            for changed in tuple(self._subscribers):
                changed(tenant, subject)
