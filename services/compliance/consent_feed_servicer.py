"""ConsentFeedService: one follower's stream, translated one for one between the contract and the runtime's feed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from polyphony.compliance.v1 import consent_feed_service_pb2 as pb
from polyphony.compliance.v1.consent_feed_service_pb2_grpc import ConsentFeedServiceServicer
from services.compliance.adapters.decisions import SubjectState
from services.compliance.consent_servicer import STATES
from services.compliance.purpose_ids import purpose_number
from services.runtime.feeds import Ack, Beat, Delta, Feed, Snapshot, Update

MAX_CONSENTS_PER_MESSAGE = 10_000
"""As the contract bounds ``consents``; about 1.5 MB."""


class ConsentFeedService(ConsentFeedServiceServicer):
    """Carries the consent state to every service."""

    def __init__(self, feed: Feed[Sequence[SubjectState], SubjectState]) -> None:
        self._feed = feed

    async def SyncConsents(
        self, request_iterator: AsyncIterator[pb.SyncConsentsRequest], context: Any
    ) -> AsyncGenerator[pb.SyncConsentsResponse, None]:
        """A snapshot, then changes, and heartbeats between them."""
        async with aclosing(self._feed.serve(_acks(request_iterator))) as updates:
            async for update in updates:
                for message in _messages(update):
                    yield message


def _messages(update: Update[Sequence[SubjectState], SubjectState]) -> Iterator[pb.SyncConsentsResponse]:
    """The messages that say ``update``: one, or several for a snapshot that one message cannot hold."""
    match update:
        case Snapshot(version, states):
            for at in range(0, len(states) or 1, MAX_CONSENTS_PER_MESSAGE):
                yield pb.SyncConsentsResponse(
                    version=version,
                    reset=at == 0,
                    partial=at + MAX_CONSENTS_PER_MESSAGE < len(states),
                    consents=[_consent(state) for state in states[at : at + MAX_CONSENTS_PER_MESSAGE]],
                )
        case Delta(previous, version, state):
            yield pb.SyncConsentsResponse(
                version=version, previous_version=previous, consents=[_consent(state)]
            )
        case Beat(version, echo, lease):
            message = pb.SyncConsentsResponse(version=version, previous_version=version, echo=echo)
            message.lease.FromNanoseconds(int(lease * 1e9))
            yield message


async def _acks(requests: AsyncIterator[pb.SyncConsentsRequest]) -> AsyncIterator[Ack]:
    """The follower names itself in its first message only."""
    follower = ""
    async for request in requests:
        follower = request.follower or follower
        yield Ack(follower, request.acknowledged_version, request.sequence, request.leaving)


def _consent(state: SubjectState) -> pb.SubjectConsent:
    return pb.SubjectConsent(
        tenant=state.tenant,
        subject=state.user,
        purpose=purpose_number(state.purpose),
        state=STATES[state.state],
        record=state.record,
    )
