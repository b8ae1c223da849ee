"""The authorisation state of a process: the policy in force and the sessions that are over, as auth's feed says."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from interceptors.faults import Fault
from interceptors.identity import Identity
from interceptors.ports import Decision
from polyphony.auth.v1 import authorization_feed_service_pb2 as pb
from polyphony.errors.v1 import reason_pb2
from services.runtime.authorization import CompiledPolicy
from services.runtime.feeds import Ack, Beat, Delta, FeedFollower, Snapshot, Update

Sync = Callable[
    [AsyncIterator[pb.SyncAuthorizationRequest]], AsyncGenerator[pb.SyncAuthorizationResponse, None]
]
"""`AuthorizationFeedService.SyncAuthorization`: a stub's method, or in auth itself the servicer's."""


@dataclass(frozen=True, slots=True)
class _Content:
    """What one message, or all messages of one snapshot, bring."""

    policy: CompiledPolicy | None
    revoked: dict[str, float]

    def joined_by(self, message: pb.SyncAuthorizationResponse) -> _Content:
        """This and what `message` brings. Raises PolicyNotUnderstood."""
        policy = self.policy
        if message.HasField("policy"):
            policy = CompiledPolicy(message.policy.model, message.policy.rules, message.policy.digest)
        revoked = {each.session: each.forget_time.ToNanoseconds() / 1e9 for each in message.revoked_sessions}
        return _Content(policy, self.revoked | revoked)


class AuthorizationState:
    """Follows auth's feed; fills the Authorizer port and says whether a session is over. Fails closed when stale."""

    def __init__(self, sync: Sync, *, follower: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._sync = sync
        self._clock = clock
        self._policy: CompiledPolicy | None = None
        self._revoked: dict[str, float] = {}
        self._subscribers: list[Callable[[], None]] = []
        self.follower: FeedFollower[_Content, _Content] = FeedFollower(
            self._connect, name=follower, replace=self._replace, apply=self._apply, clock=clock
        )

    def decide(self, identity: Identity, permission: str) -> Decision:
        """Whether `identity` holds `permission`. Raises Fault POLICY_STALE."""
        if self._policy is None or self._clock() >= self.follower.until:
            raise Fault(reason_pb2.REASON_POLICY_STALE)
        return self._policy.decide(identity.tenant, identity.roles, permission)

    def check_session(self, session: str) -> None:
        """Raises Fault POLICY_STALE where nobody can know, SESSION_REVOKED where the session is over."""
        if self._clock() >= self.follower.until:
            raise Fault(reason_pb2.REASON_POLICY_STALE)
        if session in self._revoked:
            raise Fault(reason_pb2.REASON_SESSION_REVOKED)

    def subscribe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` after each change; returns the unsubscriber."""
        self._subscribers.append(changed)
        return lambda: self._subscribers.remove(changed)

    async def _connect(self, acks: AsyncIterator[Ack]) -> AsyncGenerator[Update[_Content, _Content], None]:
        async def requests() -> AsyncIterator[pb.SyncAuthorizationRequest]:
            async for ack in acks:
                yield pb.SyncAuthorizationRequest(
                    follower=ack.follower,
                    acknowledged_version=ack.version,
                    sequence=ack.sequence,
                    leaving=ack.leaving,
                )

        content, whole = _Content(None, {}), False
        async with aclosing(self._sync(requests())) as messages:
            async for message in messages:
                if message.HasField("lease"):
                    yield Beat(message.version, message.echo, message.lease.ToNanoseconds() / 1e9)
                    continue
                if message.reset:
                    content, whole = _Content(None, {}), True
                content = content.joined_by(message)
                if not message.partial:
                    if whole:
                        yield Snapshot(message.version, content)
                    else:
                        yield Delta(message.previous_version, message.version, content)
                    content, whole = _Content(None, {}), False

    def _replace(self, content: _Content) -> None:
        if content.policy is None:
            raise ValueError("a snapshot without a policy")
        self._policy, self._revoked = content.policy, content.revoked
        self._tell()

    def _apply(self, content: _Content) -> None:
        now = time.time()
        kept = {session: until for session, until in self._revoked.items() if until > now}
        self._policy, self._revoked = content.policy or self._policy, kept | content.revoked
        self._tell()

    def _tell(self) -> None:
        for changed in tuple(self._subscribers):
            changed()
