"""The AuthorizationFeed of `ports` over the runtime's feed."""

from __future__ import annotations

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.auth.model.authorization import AuthorizationChange, AuthorizationState
from services.runtime.feeds import Feed, NotAcknowledged


class FeedPublisher:
    """Publishes versions that were committed."""

    def __init__(self, feed: Feed[AuthorizationState, AuthorizationChange]) -> None:
        """Over the domain's feed."""
        self._feed = feed

    async def publish(self, version: int) -> None:
        """Returns when no service answers any more from a state older than `version`."""
        try:
            await self._feed.publish(version)
        except NotAcknowledged:
            raise Fault(
                reason_pb2.REASON_DEPENDENCY_UNAVAILABLE,
                "The session is over, but not every service has confirmed it in time.",
                retry_after=1.0,
            ) from None
