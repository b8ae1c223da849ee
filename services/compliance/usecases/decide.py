"""Granting and withdrawing consent. Both can be repeated: what changes nothing is not recorded twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from services.compliance.model import (
    Catalogue,
    Choice,
    Decision,
    LanguageNotOffered,
    NeverDecided,
    NotAsked,
    NoticeOutdated,
)
from services.compliance.ports import Decisions


def grant(
    decisions: Decisions,
    catalogue: Catalogue,
    *,
    user: str,
    purpose: str,
    version: int,
    language: str,
    actor: str,
    now: datetime,
    new_id: Callable[[], str],
) -> Decision:
    """Records that ``user`` consents to ``purpose``, having been shown ``version`` of its notice in
    ``language``.

    Answers the decision that stands. Raises ``NotAsked``, ``NoticeOutdated`` or ``LanguageNotOffered``.
    """
    if purpose not in catalogue:
        raise NotAsked(f"nobody is asked about {purpose}")
    notice = catalogue.current(purpose)
    if version != notice.version:
        raise NoticeOutdated(purpose, version, notice.version)
    if language not in notice.wordings:
        raise LanguageNotOffered(
            f"the notice of {purpose} is offered in {', '.join(sorted(notice.wordings))}"
        )
    last = decisions.last(user, purpose)
    if last is not None and last.choice is Choice.GRANTED and last.notice_version == version:
        return last
    decision = Decision(
        id=new_id(),
        user=user,
        purpose=purpose,
        revision=last.revision + 1 if last else 1,
        choice=Choice.GRANTED,
        notice_version=version,
        notice_language=language,
        notice_digest=notice.digest(language),
        time=now,
        actor=actor,
    )
    decisions.append(decision)
    return decision


def withdraw(
    decisions: Decisions, *, user: str, purpose: str, actor: str, now: datetime, new_id: Callable[[], str]
) -> Decision:
    """Records that ``user`` no longer consents to ``purpose``; works for purposes that left the catalogue,
    too.

    Answers the decision that stands. Raises ``NeverDecided`` when there is nothing to withdraw.
    """
    last = decisions.last(user, purpose)
    if last is None:
        raise NeverDecided(f"no consent to {purpose} was ever given")
    if last.choice is Choice.WITHDRAWN:
        return last
    decision = replace(
        last, id=new_id(), revision=last.revision + 1, choice=Choice.WITHDRAWN, time=now, actor=actor
    )
    decisions.append(decision)
    return decision
