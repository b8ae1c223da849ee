"""`polyphony.auth.v1.AuthorizationFeedService`: translation between the contract's messages and the
runtime's feed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC
from typing import Any

from polyphony.auth.v1 import authorization_feed_service_pb2 as pb
from polyphony.auth.v1.authorization_feed_service_pb2_grpc import AuthorizationFeedServiceServicer
from services.auth.model.authorization import (
    AuthorizationChange,
    AuthorizationState,
    Policy,
    RevokedSession,
)
from services.runtime.feeds import Ack, Beat, Delta, Feed, Snapshot, Update

MAX_SESSIONS_PER_MESSAGE = 10_000
"""As the contract bounds `revoked_sessions`."""


class AuthorizationFeedService(AuthorizationFeedServiceServicer):
    """Carries the authorisation state to every service."""

    def __init__(self, feed: Feed[AuthorizationState, AuthorizationChange]) -> None:
        """Serves `feed`."""
        self._feed = feed

    async def SyncAuthorization(
        self, request_iterator: AsyncIterator[pb.SyncAuthorizationRequest], context: Any
    ) -> AsyncGenerator[pb.SyncAuthorizationResponse, None]:
        """A snapshot, then changes, and heartbeats between them."""
        async with aclosing(self._feed.serve(_acks(request_iterator))) as updates:
            async for update in updates:
                for message in responses(update):
                    yield message


async def _acks(requests: AsyncIterator[pb.SyncAuthorizationRequest]) -> AsyncIterator[Ack]:
    follower = ""
    async for request in requests:
        follower = request.follower or follower
        yield Ack(follower, request.acknowledged_version, request.sequence, request.leaving)


def responses(
    update: Update[AuthorizationState, AuthorizationChange],
) -> Iterator[pb.SyncAuthorizationResponse]:
    """The messages that say `update`: one, or several for a snapshot that one message cannot hold."""
    match update:
        case Snapshot(version, state):
            yield from _snapshot(version, state)
        case Delta(previous, version, Policy() as policy):
            yield pb.SyncAuthorizationResponse(
                version=version, previous_version=previous, policy=_policy(policy)
            )
        case Delta(previous, version, RevokedSession() as revoked):
            yield pb.SyncAuthorizationResponse(
                version=version, previous_version=previous, revoked_sessions=[_revoked(revoked)]
            )
        case Beat(version, echo, lease):
            message = pb.SyncAuthorizationResponse(version=version, previous_version=version, echo=echo)
            message.lease.FromNanoseconds(int(lease * 1e9))
            yield message


def _snapshot(version: int, state: AuthorizationState) -> Iterator[pb.SyncAuthorizationResponse]:
    size = MAX_SESSIONS_PER_MESSAGE
    parts = [state.revoked[at : at + size] for at in range(0, len(state.revoked), size)] or [()]
    for number, part in enumerate(parts):
        yield pb.SyncAuthorizationResponse(
            version=version,
            reset=number == 0,
            partial=number < len(parts) - 1,
            policy=_policy(state.policy) if number == 0 else None,
            revoked_sessions=[_revoked(session) for session in part],
        )


def _policy(policy: Policy) -> pb.PolicySnapshot:
    return pb.PolicySnapshot(model=policy.model, rules=policy.rules, digest=policy.digest)


def _revoked(revoked: RevokedSession) -> pb.RevokedSession:
    message = pb.RevokedSession(session=revoked.session)
    message.forget_time.FromDatetime(revoked.forget_at.astimezone(UTC).replace(tzinfo=None))
    return message
