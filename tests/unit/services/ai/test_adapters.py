"""Plays from spotify's pages, consents from the road's ledger, and what events put aside."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson

from interceptors.faults import Fault
from interceptors.ports import ConsentState, ConsentVerdict
from polyphony.compliance.v1.consent_events_pb2 import ConsentGranted, ConsentWithdrawn
from polyphony.errors.v1 import reason_pb2
from polyphony.policy.v1 import policy_pb2
from polyphony.spotify.v1 import history_pb2
from polyphony.spotify.v1 import user_data_service_pb2 as pb
from polyphony.spotify.v1.history_events_pb2 import HistoryDeleted
from services.ai.adapters.consents import LedgerConsents
from services.ai.adapters.events import Withdrawals
from services.ai.adapters.spotify import SpotifyPlays
from services.runtime.channels import _behalf
from services.runtime.events import Event

WHEN = datetime(2026, 11, 23, 8, tzinfo=UTC)
RECOMMENDATIONS = policy_pb2.PURPOSE_PERSONALISED_RECOMMENDATIONS


def play(kind: int, uri: str, seconds: int) -> history_pb2.Play:
    message = history_pb2.Play(
        kind=kind, uri=uri, title=uri[-1:], artist="a", album="b", skipped=seconds == 2
    )
    message.end_time.FromDatetime(WHEN.replace(tzinfo=None))
    message.played.FromMilliseconds(seconds * 1_000 + 7)
    return message


class Spotify:
    """A channel whose `ListPlays` answers two pages and notes who asks what."""

    def __init__(self) -> None:
        self.asked: list[tuple[pb.ListPlaysRequest, Any]] = []

    def unary_unary(self, method: str, *_codec: Any, **_options: Any) -> Callable[..., Any]:
        async def call(request: Any, **_limits: Any) -> Any:
            self.asked.append((request, _behalf.get()))
            tracks = [play(history_pb2.CONTENT_KIND_TRACK, f"spotify:track:{n}", n) for n in (1, 2)]
            if request.page_token:
                return pb.ListPlaysResponse(plays=tracks[:1])
            others = [
                play(history_pb2.CONTENT_KIND_EPISODE, "spotify:episode:3", 3),
                play(history_pb2.CONTENT_KIND_TRACK, "", 4),
            ]
            return pb.ListPlaysResponse(plays=[*tracks, *others], next_page_token="next")

        return call

    def stream_unary(self, *_: Any, **__: Any) -> Any:
        return None

    unary_stream = stream_stream = stream_unary


async def test_plays_of_music_are_read_page_by_page_on_the_persons_behalf() -> None:
    channel = Spotify()
    pages = []
    async for page in SpotifyPlays(channel).pages("acme", "ada"):
        assert _behalf.get() is None, "nothing else runs on the person's behalf"
        pages.append(page)
    assert [[p.track.key for p in page] for page in pages] == [
        ["spotify:track:1", "spotify:track:2"],
        ["spotify:track:1"],
    ]
    first, second = pages[0]
    assert (first.ended, first.ms_played, first.skipped, second.skipped) == (WHEN, 1_007, False, True)
    assert (first.track.name, first.track.artist, first.track.album) == ("1", "a", "b")
    assert [(r.parent, r.page_token) for r, _ in channel.asked] == [("users/ada", ""), ("users/ada", "next")]
    for _, behalf in channel.asked:
        assert (behalf.tenant, behalf.user, behalf.purpose) == ("acme", "ada", "personalised-recommendations")


@pytest.mark.parametrize(
    ("state", "reason"),
    [(ConsentState.REQUIRED, "CONSENT_REQUIRED"), (ConsentState.WITHDRAWN, "CONSENT_WITHDRAWN")],
)
def test_without_consent_there_is_no_entry(state: ConsentState, reason: str) -> None:
    ledger: Any = SimpleNamespace(check=lambda *_: ConsentVerdict(state))
    with pytest.raises(Fault) as refused:
        LedgerConsents(ledger).require("acme", "ada")
    assert refused.value.name == reason


def test_consent_is_asked_for_the_one_purpose() -> None:
    asked = []

    def check(*place: Any) -> ConsentVerdict:
        asked.append(place)
        return ConsentVerdict(ConsentState.GRANTED, "entry")

    ledger: Any = SimpleNamespace(check=check)
    assert LedgerConsents(ledger).require("acme", "ada") == "entry"
    assert asked == [("acme", "ada", RECOMMENDATIONS)]


@dataclass
class Quarantine:
    """Notes what is quarantined."""

    fault: Fault | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, **asked: Any) -> int:
        self.asked.append(asked)
        if self.fault is not None:
            raise self.fault
        return 1


def event(message: Any) -> Event:
    kind = message.DESCRIPTOR.full_name
    return Event("id", "/polyphony/x", kind, "acme", "users/ada", WHEN, "", MessageToJson(message).encode())


async def test_a_withdrawal_of_this_purpose_and_a_deletion_quarantine() -> None:
    quarantine: Any = Quarantine()
    handler = Withdrawals(quarantine)
    await handler.handle(event(ConsentWithdrawn(user="ada", purpose=RECOMMENDATIONS, record="r")))
    await handler.handle(event(HistoryDeleted(user="bob")))
    await handler.handle(event(ConsentWithdrawn(user="cyd", purpose=policy_pb2.PURPOSE_IMPORT_HISTORY)))
    await handler.handle(event(ConsentGranted(user="dan", purpose=RECOMMENDATIONS)))
    assert [(a["tenant"], a["user"], a["reason"], a["before"]) for a in quarantine.asked] == [
        ("acme", "ada", "CONSENT_WITHDRAWN", WHEN),
        ("acme", "bob", "HISTORY_EMPTY", WHEN),
    ]


async def test_an_event_is_done_when_only_the_server_is_away_and_comes_again_otherwise() -> None:
    away: Any = Quarantine(Fault(reason_pb2.REASON_MODEL_UNAVAILABLE))
    await Withdrawals(away).handle(event(HistoryDeleted(user="bob")))
    broken: Any = Quarantine(Fault(reason_pb2.REASON_STORAGE_UNAVAILABLE))
    with pytest.raises(Fault):
        await Withdrawals(broken).handle(event(HistoryDeleted(user="bob")))
