"""`polyphony.ai.v1.RecommendationService`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from polyphony.ai.v1 import recommendation_pb2
from polyphony.ai.v1 import recommendation_service_pb2 as pb
from polyphony.ai.v1.recommendation_service_pb2_grpc import RecommendationServiceServicer
from services.ai.changes import Changes
from services.ai.explanation import Evidence, Kind, Recommended
from services.ai.model import Version
from services.ai.servicers.calls import owner, seconds_left, set_time, this_call
from services.ai.training import Track
from services.ai.usecases.recommend import Recommend

DEFAULT_SIZE = 10

Request = pb.RecommendRequest | pb.WatchRecommendationsRequest


class RecommendationService(RecommendationServiceServicer):
    """What to listen to, and why."""

    def __init__(
        self, recommend: Recommend, changes: Changes, *, infer_seconds: float, poll_seconds: float
    ) -> None:
        """`infer_seconds` bounds the wait for the model; streams look for a new champion every `poll_seconds`."""
        self._recommend = recommend
        self._changes = changes
        self._infer_seconds = infer_seconds
        self._poll_seconds = poll_seconds

    async def Recommend(self, request: pb.RecommendRequest, context: Any) -> pb.RecommendResponse:
        """Recommend once."""
        version = await self._recommend.champion(this_call().identity.tenant, owner(request.parent))
        return pb.RecommendResponse(
            recommendations=await self._answer(request, version), model_version=str(version.name)
        )

    async def WatchRecommendations(
        self, request: pb.WatchRecommendationsRequest, context: Any
    ) -> AsyncIterator[pb.WatchRecommendationsResponse]:
        """Recommend now, and again whenever the person's champion changes."""
        user, tenant = owner(request.parent), this_call().identity.tenant
        told = ""
        while True:
            version = await self._recommend.champion(tenant, user)
            if version.id != told:
                yield pb.WatchRecommendationsResponse(
                    recommendations=await self._answer(request, version), model_version=str(version.name)
                )
                told = version.id
            await self._changes.wait(tenant, user, self._poll_seconds)

    async def _answer(self, request: Request, version: Version) -> list[recommendation_pb2.Recommendation]:
        answer = await self._recommend(
            version,
            kind=Kind(request.kind),
            size=request.size or DEFAULT_SIZE,
            seeds=request.seed_uris,
            now=datetime.now(UTC),
            seconds=seconds_left(self._infer_seconds),
        )
        return [_message(item) for item in answer.items]


def _message(recommended: Recommended) -> recommendation_pb2.Recommendation:
    message = recommendation_pb2.Recommendation(
        item=_item(recommended.track),
        kind=recommendation_pb2.RecommendationKind.ValueType(recommended.kind),
        score=recommended.score,
        reason=recommended.reason,
    )
    for cause in recommended.causes:
        contribution = message.contributions.add(item=_item(cause.track), score=cause.score)
        for evidence in cause.evidence:
            _fill(contribution.evidence.add(), evidence)
    return message


def _fill(message: recommendation_pb2.Evidence, evidence: Evidence) -> None:
    set_time(message.item_time, evidence.item)
    if evidence.cause is not None:
        set_time(message.cause_time, evidence.cause)


def _item(track: Track) -> recommendation_pb2.Item:
    return recommendation_pb2.Item(uri=track.key, title=track.name, artist=track.artist, album=track.album)
