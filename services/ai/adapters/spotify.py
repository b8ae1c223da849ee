"""A person's plays from the spotify domain, over the mesh."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC
from typing import Any

from polyphony.policy.v1 import policy_pb2
from polyphony.spotify.v1 import history_pb2
from polyphony.spotify.v1 import user_data_service_pb2 as pb
from polyphony.spotify.v1.user_data_service_pb2_grpc import UserDataServiceStub
from services.ai.training import Play, Track
from services.runtime.channels import on_behalf_of

SERVICE = "polyphony.spotify.v1.UserDataService"
PAGE_SIZE = 1_000
PAGE_SECONDS = 30.0


class SpotifyPlays:
    """Asks `ListPlays` on the person's behalf, for personalised recommendations and nothing else.

    The spotify domain checks that consent on every page, so a withdrawal ends the reading with its next page.
    """

    def __init__(self, channel: Any) -> None:
        """`channel` is one of the runtime's: it carries identity and purpose, and raises Fault."""
        self._stub: Any = UserDataServiceStub(channel)

    async def pages(self, tenant: str, user: str) -> AsyncIterator[Sequence[Play]]:
        """The person's plays of music, oldest first. Raises the faults of the spotify domain."""
        token = ""
        while True:
            # Around the call only: a generator's consumer must not run on somebody's behalf between two pages.
            with on_behalf_of(tenant, user, policy_pb2.PURPOSE_PERSONALISED_RECOMMENDATIONS):
                page: pb.ListPlaysResponse = await self._stub.ListPlays(
                    pb.ListPlaysRequest(parent=f"users/{user}", page_size=PAGE_SIZE, page_token=token),
                    timeout=PAGE_SECONDS,
                )
            yield [_play(play) for play in page.plays if _is_music(play)]
            token = page.next_page_token
            if not token:
                return


def _is_music(play: history_pb2.Play) -> bool:
    return play.kind == history_pb2.CONTENT_KIND_TRACK and bool(play.uri)


def _play(play: history_pb2.Play) -> Play:
    return Play(
        Track(play.uri, play.title, play.artist, play.album),
        play.end_time.ToDatetime(UTC),
        play.played.seconds * 1_000 + play.played.nanos // 1_000_000,
        play.skipped,
    )
