"""What a process knows of policy, sessions and consents, and that it fails closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from interceptors.faults import Fault
from interceptors.identity import Identity
from interceptors.ports import ConsentState
from polyphony.auth.v1 import authorization_feed_service_pb2 as auth_pb
from polyphony.compliance.v1 import consent_feed_service_pb2 as consent_pb
from polyphony.compliance.v1 import consent_pb2
from polyphony.policy.v1 import policy_pb2
from services.runtime.authorization import MODEL
from services.runtime.authorization_state import AuthorizationState
from services.runtime.consents import Consents

RULES = ["p, listener, *, a.b.get, own, allow"]
LISTENER = Identity(policy_pb2.CREDENTIAL_USER, "t1", "u1", "s1", ("listener",))
PROFILE = policy_pb2.PURPOSE_LISTENING_PROFILE


class Script:
    """An authority that says what a test tells it to, and echoes."""

    def __init__(self, beat: type[Any]) -> None:
        self.beat = beat
        self.said: asyncio.Queue[Any] = asyncio.Queue()
        self.heard: list[Any] = []
        self.version = 0
        self.streams = 0
        self.lease = 1.0

    async def sync(self, requests: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
        self.streams += 1

        async def hear() -> None:
            async for request in requests:
                self.heard.append(request)

        hearing = asyncio.create_task(hear())
        try:
            while True:
                message = await self.said.get()
                self.version = message.version
                yield message
                if not getattr(message, "partial", False):
                    await asyncio.sleep(0.01)
                    beat = self.beat(
                        version=self.version, previous_version=self.version, echo=len(self.heard)
                    )
                    beat.lease.FromNanoseconds(int(self.lease * 1e9))
                    yield beat
        finally:
            hearing.cancel()


async def until(condition: Any) -> None:
    async with asyncio.timeout(3):
        while not condition():  # noqa: ASYNC110 - the follower's state has no event of its own
            await asyncio.sleep(0.005)


def name_of(action: Any) -> str:
    with pytest.raises(Fault) as refused:
        action()
    return refused.value.name


def policy(rules: list[str]) -> auth_pb.PolicySnapshot:
    return auth_pb.PolicySnapshot(model=MODEL, rules=rules, digest="d" * 64)


def revoked(session: str) -> auth_pb.RevokedSession:
    message = auth_pb.RevokedSession(session=session)
    message.forget_time.FromSeconds(4_000_000_000)
    return message


async def test_policy_and_sessions_follow_auth() -> None:
    script = Script(auth_pb.SyncAuthorizationResponse)
    state = AuthorizationState(script.sync, follower="f")
    changes: list[int] = []
    unsubscribe = state.subscribe(lambda: changes.append(1))
    assert name_of(lambda: state.decide(LISTENER, "a.b.get")) == "POLICY_STALE"
    assert name_of(lambda: state.check_session("s1")) == "POLICY_STALE"
    running = asyncio.create_task(state.follower.run())

    first = auth_pb.SyncAuthorizationResponse(version=4, reset=True, partial=True, policy=policy(RULES))
    first.revoked_sessions.append(revoked("s0"))
    script.said.put_nowait(first)
    await asyncio.sleep(0.05)
    assert not state.follower.fresh, "half a snapshot is no state"
    script.said.put_nowait(auth_pb.SyncAuthorizationResponse(version=4, revoked_sessions=[revoked("s00")]))
    await until(lambda: state.follower.fresh)
    decision = state.decide(LISTENER, "a.b.get")
    assert (decision.allowed, decision.scope, decision.rule) == (True, "own", RULES[0])
    assert decision.snapshot == "d" * 64
    state.check_session("s1")
    assert name_of(lambda: state.check_session("s0")) == "SESSION_REVOKED"
    assert name_of(lambda: state.check_session("s00")) == "SESSION_REVOKED"

    script.said.put_nowait(
        auth_pb.SyncAuthorizationResponse(version=5, previous_version=4, revoked_sessions=[revoked("s1")])
    )
    script.said.put_nowait(
        auth_pb.SyncAuthorizationResponse(version=6, previous_version=5, policy=policy([]))
    )
    await until(lambda: state.follower.version == 6)
    assert name_of(lambda: state.check_session("s1")) == "SESSION_REVOKED"
    assert not state.decide(LISTENER, "a.b.get").allowed
    assert len(changes) == 3
    await until(lambda: script.heard[-1].acknowledged_version == 6)
    unsubscribe()
    running.cancel()
    await asyncio.wait({running})
    assert name_of(lambda: state.check_session("s9")) == "POLICY_STALE"


async def test_a_policy_for_another_model_is_never_in_force() -> None:
    script = Script(auth_pb.SyncAuthorizationResponse)
    state = AuthorizationState(script.sync, follower="f")
    running = asyncio.create_task(state.follower.run())
    other = auth_pb.PolicySnapshot(model=MODEL.replace("keyMatch", "regexMatch"), rules=RULES, digest="e")
    script.said.put_nowait(auth_pb.SyncAuthorizationResponse(version=1, reset=True, policy=other))
    await until(lambda: script.streams > 1)
    assert name_of(lambda: state.decide(LISTENER, "a.b.get")) == "POLICY_STALE"
    running.cancel()
    await asyncio.wait({running})


def consent(
    subject: str, state: consent_pb2.ConsentState.ValueType, record: str = "r"
) -> consent_pb.SubjectConsent:
    return consent_pb.SubjectConsent(
        tenant="t1", subject=subject, purpose=PROFILE, state=state, record=record
    )


async def test_consents_follow_compliance() -> None:
    script = Script(consent_pb.SyncConsentsResponse)
    consents = Consents(script.sync, follower="f")
    heard: list[tuple[str, str]] = []
    consents.subscribe(lambda tenant, subject: heard.append((tenant, subject)))
    assert name_of(lambda: consents.check("t1", "u1", PROFILE)) == "CONSENT_STALE"
    running = asyncio.create_task(consents.follower.run())
    script.said.put_nowait(consent_pb.SyncConsentsResponse(version=0, reset=True))
    await until(lambda: consents.follower.fresh)
    assert consents.check("t1", "u1", PROFILE).state is ConsentState.REQUIRED

    granted = consent("u1", consent_pb2.CONSENT_STATE_GRANTED, "r1")
    script.said.put_nowait(consent_pb.SyncConsentsResponse(version=1, previous_version=0, consents=[granted]))
    await until(lambda: consents.follower.version == 1)
    verdict = consents.check("t1", "u1", PROFILE)
    assert (verdict.state, verdict.record) == (ConsentState.GRANTED, "r1")
    for other in (("t2", "u1", PROFILE), ("t1", "u2", PROFILE), ("t1", "u1", PROFILE + 1)):
        assert consents.check(*other).state is ConsentState.REQUIRED

    withdrawn = consent("u1", consent_pb2.CONSENT_STATE_WITHDRAWN, "r2")
    outdated = consent("u2", consent_pb2.CONSENT_STATE_OUTDATED)
    script.said.put_nowait(
        consent_pb.SyncConsentsResponse(version=3, previous_version=1, consents=[withdrawn, outdated])
    )
    await until(lambda: consents.follower.version == 3)
    assert consents.check("t1", "u1", PROFILE).state is ConsentState.WITHDRAWN
    assert consents.check("t1", "u2", PROFILE).state is ConsentState.REQUIRED
    assert sorted(heard) == [("t1", "u1"), ("t1", "u1"), ("t1", "u2")]

    script.said.put_nowait(consent_pb.SyncConsentsResponse(version=9, previous_version=8))  # 4 to 8 were lost
    await until(lambda: script.streams == 2)
    script.said.put_nowait(consent_pb.SyncConsentsResponse(version=9, reset=True, consents=[outdated]))
    await until(lambda: consents.follower.version == 9)
    assert consents.check("t1", "u1", PROFILE).state is ConsentState.REQUIRED
    running.cancel()
    await asyncio.wait({running})


async def test_consents_go_stale_by_themselves() -> None:
    script = Script(consent_pb.SyncConsentsResponse)
    script.lease = 0.1
    consents = Consents(script.sync, follower="f")
    running = asyncio.create_task(consents.follower.run())
    script.said.put_nowait(consent_pb.SyncConsentsResponse(version=1, reset=True))
    await until(lambda: consents.follower.fresh)
    await asyncio.sleep(0.15)
    assert name_of(lambda: consents.check("t1", "u1", PROFILE)) == "CONSENT_STALE"
    running.cancel()
    await asyncio.wait({running})
