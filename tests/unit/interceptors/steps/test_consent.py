"""For what, and did they agree to that."""

from dataclasses import replace

import pytest

from interceptors.ports import ConsentState
from interceptors.steps.consent import refusal
from polyphony.policy.v1 import policy_pb2
from tests.fixtures.ports import ALICE

REPEATED = {"parent": "users/me", "text": "p", "count": 1}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (ConsentState.REQUIRED, "CONSENT_REQUIRED"),
        (ConsentState.WITHDRAWN, "CONSENT_WITHDRAWN"),
    ],
)
async def test_without_consent_the_call_is_refused_and_told_for_what(world, pb, state, reason):
    world.ports.consents.state = state
    outcome = await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"))
    assert outcome.verdict == ("FAILED_PRECONDITION", reason)
    assert outcome.info["purpose"] == "listening-profile"
    assert outcome.preconditions == ["listening-profile"]
    assert "Show my listening profile" in outcome.message
    assert world.servicer.seen == []
    assert (world.record.step, world.record.subject) == ("consent", "u1")


async def test_the_consent_asked_for_is_the_subjects_in_the_callers_tenant(world, pb):
    world.ports.authorizer.scope = "tenant"
    await world.call("Echo", pb.EchoRequest(parent="users/u2", text="p"))
    assert world.ports.consents.asked == [("t1", "u2", policy_pb2.PURPOSE_LISTENING_PROFILE)]
    record = world.record
    assert (record.actor, record.subject, record.consent_record) == ("u1", "u2", "c1")
    assert record.basis == policy_pb2.LEGAL_BASIS_CONSENT


async def test_another_legal_basis_asks_for_no_consent(world, pb):
    world.ports.consents.state = ConsentState.WITHDRAWN
    outcome = await world.call("Change", pb.EchoRequest(text="p"))
    assert outcome.verdict == ("OK", "")
    assert world.ports.consents.asked == []
    assert world.record.purpose == policy_pb2.PURPOSE_ACCOUNT
    assert world.record.basis == policy_pb2.LEGAL_BASIS_CONTRACT


async def test_the_first_purpose_is_the_default_and_metadata_chooses_another(world, pb):
    request = pb.EchoRequest(**REPEATED)
    await world.call("Repeat", request)
    await world.call("Repeat", request, polyphony_purpose="personalised-recommendations")
    assert [record.purpose for record in world.ports.audit.read()] == [
        policy_pb2.PURPOSE_LISTENING_PROFILE,
        policy_pb2.PURPOSE_PERSONALISED_RECOMMENDATIONS,
    ]


@pytest.mark.parametrize(
    "purpose", ["import-history", "account", "nonsense", "LISTENING-PROFILE", "x" * 5000]
)
async def test_a_purpose_that_the_method_does_not_serve_is_refused(world, pb, purpose):
    outcome = await world.call("Repeat", pb.EchoRequest(**REPEATED), polyphony_purpose=purpose)
    assert outcome.verdict == ("INVALID_ARGUMENT", "PURPOSE_NOT_PERMITTED")
    assert outcome.info["served"] == "listening-profile, personalised-recommendations"
    assert len(outcome.message) < 300


async def test_a_credential_limits_the_purpose(world, pb):
    """A service that acts for one purpose cannot turn its credential to another (a callee's are a subset)."""
    limited = replace(ALICE, purpose="personalised-recommendations")
    world.ports.authenticator.identities["limited"] = limited
    request = pb.EchoRequest(**REPEATED)
    await world.call("Repeat", request, token="limited")
    assert world.record.purpose == policy_pb2.PURPOSE_PERSONALISED_RECOMMENDATIONS
    turned = await world.call("Repeat", request, token="limited", polyphony_purpose="listening-profile")
    assert turned.reason == "PURPOSE_NOT_PERMITTED"
    elsewhere = await world.call("Echo", pb.EchoRequest(parent="users/me", text="p"), token="limited")
    assert elsewhere.reason == "PURPOSE_NOT_PERMITTED"


@pytest.mark.parametrize("purpose", [number for number in policy_pb2.Purpose.values() if number])
def test_every_purpose_can_be_refused_in_plain_words(purpose):
    fault = refusal(purpose, ConsentState.REQUIRED)
    assert "“" in fault.message
    assert fault.metadata["purpose"]
