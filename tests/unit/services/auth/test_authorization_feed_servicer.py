"""How the authorisation state travels: one message for each update, several for a large snapshot."""

from datetime import UTC, datetime

from services.auth.authorization_feed_servicer import MAX_SESSIONS_PER_MESSAGE, responses
from services.auth.model.authorization import AuthorizationState, Policy, RevokedSession
from services.runtime.feeds import Beat, Delta, Snapshot

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy("model", ("g, a, b",))


def test_a_snapshot_resets_and_carries_the_policy() -> None:
    (message,) = responses(Snapshot(7, AuthorizationState(POLICY, (RevokedSession("s", WHEN),))))
    assert (message.version, message.reset, message.partial) == (7, True, False)
    assert (message.policy.model, list(message.policy.rules), message.policy.digest) == (
        "model",
        ["g, a, b"],
        POLICY.digest,
    )
    assert message.revoked_sessions[0].session == "s"
    assert message.revoked_sessions[0].forget_time.ToDatetime(UTC) == WHEN


def test_a_large_snapshot_comes_in_parts_and_loses_nobody() -> None:
    revoked = tuple(RevokedSession(str(n), WHEN) for n in range(2 * MAX_SESSIONS_PER_MESSAGE + 1))
    messages = list(responses(Snapshot(7, AuthorizationState(POLICY, revoked))))
    assert [(m.reset, m.partial, m.HasField("policy")) for m in messages] == [
        (True, True, True),
        (False, True, False),
        (False, False, False),
    ]
    assert [s.session for m in messages for s in m.revoked_sessions] == [r.session for r in revoked]


def test_a_change_names_what_it_builds_on() -> None:
    (session,) = responses(Delta(7, 8, RevokedSession("s", WHEN)))
    (policy,) = responses(Delta(8, 9, POLICY))
    assert (session.previous_version, session.version, session.reset, session.HasField("policy")) == (
        7,
        8,
        False,
        False,
    )
    assert (policy.previous_version, policy.version, policy.policy.digest) == (8, 9, POLICY.digest)


def test_a_heartbeat_echoes_and_grants() -> None:
    (beat,) = responses(Beat(9, 4, 3.0))
    assert (beat.version, beat.previous_version, beat.echo, beat.lease.ToSeconds()) == (9, 9, 4, 3)
