"""The consent model and its two verbs, against an in-memory record."""

from __future__ import annotations

import hashlib
import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.compliance import model
from services.compliance.model import Catalogue, Choice, Decision, Notice, State, Wording, state_of
from services.compliance.purposes import CATALOGUE
from services.compliance.usecases.decide import grant, withdraw

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class MemoryDecisions:
    def __init__(self) -> None:
        self.all: list[Decision] = []

    def last(self, user: str, purpose: str) -> Decision | None:
        return next((d for d in reversed(self.all) if (d.user, d.purpose) == (user, purpose)), None)

    def append(self, decision: Decision) -> None:
        last = self.last(decision.user, decision.purpose)
        assert decision.revision == (last.revision if last else 0) + 1
        self.all.append(decision)


def catalogue(versions: int) -> Catalogue:
    return Catalogue(*(Notice("p", n + 1, {"en": Wording("T", f"text {n}")}) for n in range(versions)))


class Desk:
    """A record with the arguments that most tests do not care about."""

    def __init__(self, versions: int = 1) -> None:
        self.decisions, self.catalogue, self.ids = MemoryDecisions(), catalogue(versions), itertools.count()

    def grant(self, version: int = 1, language: str = "en", purpose: str = "p", user: str = "u") -> Decision:
        return grant(
            self.decisions, self.catalogue, user=user, purpose=purpose, version=version, language=language,
            actor=user, now=NOW, new_id=lambda: str(next(self.ids)),
        )  # fmt: skip

    def withdraw(self, purpose: str = "p", user: str = "u") -> Decision:
        return withdraw(
            self.decisions,
            user=user,
            purpose=purpose,
            actor=user,
            now=NOW,
            new_id=lambda: str(next(self.ids)),
        )


def test_a_grant_records_exactly_what_was_shown() -> None:
    desk = Desk()
    decision = desk.grant()
    assert (decision.notice_version, decision.notice_language, decision.revision) == (1, "en", 1)
    assert decision.notice_digest == hashlib.sha256(b"T\ntext 0").hexdigest()
    assert state_of(decision, desk.catalogue) is State.GRANTED


def test_repeating_a_decision_records_nothing_new() -> None:
    desk = Desk()
    assert desk.grant() == desk.grant()
    assert desk.withdraw() == desk.withdraw()
    assert [d.choice for d in desk.decisions.all] == [Choice.GRANTED, Choice.WITHDRAWN]


def test_a_new_notice_is_asked_for_again() -> None:
    desk = Desk()
    granted = desk.grant()
    desk.catalogue = catalogue(2)
    assert state_of(granted, desk.catalogue) is State.OUTDATED
    with pytest.raises(model.NoticeOutdated, match="notice 1 of p was shown, the current one is 2"):
        desk.grant(version=1)
    assert state_of(desk.grant(version=2), desk.catalogue) is State.GRANTED
    assert [d.revision for d in desk.decisions.all] == [1, 2]


def test_a_withdrawal_survives_a_new_notice() -> None:
    desk = Desk()
    desk.grant()
    withdrawn = desk.withdraw()
    assert state_of(withdrawn, catalogue(2)) is State.WITHDRAWN


def test_a_purpose_that_left_the_catalogue_permits_nothing_and_can_be_withdrawn() -> None:
    desk = Desk()
    granted = desk.grant()
    assert state_of(granted, Catalogue()) is State.OUTDATED
    assert desk.withdraw().choice is Choice.WITHDRAWN


def test_what_cannot_be_granted() -> None:
    desk = Desk()
    with pytest.raises(model.NotAsked):
        desk.grant(purpose="account")
    with pytest.raises(model.LanguageNotOffered, match="offered in en"):
        desk.grant(language="fr")
    with pytest.raises(model.NeverDecided):
        desk.withdraw()
    assert desk.decisions.all == []


@given(st.lists(st.tuples(st.sampled_from("gw"), st.sampled_from("ab"))))
def test_state_follows_the_last_decision_of_each_person_alone(steps: list[tuple[str, str]]) -> None:
    desk, expected = Desk(), {}
    for step, user in steps:
        if step == "g":
            desk.grant(user=user)
            expected[user] = State.GRANTED
        elif user in expected:
            desk.withdraw(user=user)
            expected[user] = State.WITHDRAWN
    for user in "ab":
        last = desk.decisions.last(user, "p")
        assert (state_of(last, desk.catalogue) if last else None) == expected.get(user)


def test_versions_must_be_consecutive_and_english_must_exist() -> None:
    with pytest.raises(ValueError, match="notice 2 of 'p' follows 0"):
        Catalogue(Notice("p", 2, {"en": Wording("T", "t")}))
    with pytest.raises(ValueError, match="no wording in 'en'"):
        Notice("p", 1, {"fr": Wording("T", "t")})


@pytest.mark.parametrize(
    ("wanted", "language"), [("fr", "fr"), ("fr-CA", "fr"), ("FR_be", "fr"), ("de", "en"), ("", "en")]
)
def test_the_nearest_language_is_offered(wanted: str, language: str) -> None:
    assert CATALOGUE.current("import-history").language(wanted) == language


def test_every_notice_is_in_both_languages() -> None:
    for notice in CATALOGUE:
        assert set(notice.wordings) == {"en", "fr"}
        assert len({notice.digest(language) for language in notice.wordings}) == 2
