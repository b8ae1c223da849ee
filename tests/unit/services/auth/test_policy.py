"""The policy of roles: well-formed, about the contract's own permissions, and what plain Casbin makes of it."""

import casbin
import pytest

from polyphony.ai.v1 import (
    inference_service_pb2,
    model_registry_service_pb2,
    recommendation_service_pb2,
    training_service_pb2,
)
from polyphony.auth.v1 import auth_service_pb2, authorization_feed_service_pb2
from polyphony.compliance.v1 import (
    audit_ledger_service_pb2,
    audit_service_pb2,
    consent_feed_service_pb2,
    consent_service_pb2,
)
from polyphony.policy.v1 import policy_pb2
from polyphony.spotify.v1 import user_data_service_pb2
from services.auth.adapters.policy_file import read_policy
from services.auth.model.authorization import Policy, PolicyError, parse_policy
from services.auth.settings import Settings

FILES = [
    auth_service_pb2, authorization_feed_service_pb2, audit_ledger_service_pb2, audit_service_pb2,
    consent_feed_service_pb2, consent_service_pb2, user_data_service_pb2, inference_service_pb2,
    model_registry_service_pb2, recommendation_service_pb2, training_service_pb2,
]  # fmt: skip
METHODS = [
    method.GetOptions().Extensions[policy_pb2.method]
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
PERSONAL = {m.permission for m in METHODS if m.permission and policy_pb2.CREDENTIAL_USER in m.credentials}
INTERNAL = {m.permission for m in METHODS if m.permission} - PERSONAL


@pytest.fixture(scope="module")
def policy() -> Policy:
    fields = Settings.model_fields
    return read_policy(fields["policy_model_file"].default, fields["policy_file"].default)


@pytest.fixture(scope="module")
def enforcer(policy: Policy) -> casbin.Enforcer:
    model = casbin.Enforcer.new_model(text=policy.model)
    enforcer = casbin.Enforcer(model)
    for rule in policy.rules:
        kind, *parts = rule.split(", ")
        assert enforcer.add_policy(*parts) if kind == "p" else enforcer.add_grouping_policy(*parts)
    return enforcer


def granted(enforcer: casbin.Enforcer, role: str) -> set[str]:
    return {p for p in PERSONAL | INTERNAL if enforcer.enforce(role, "any-tenant", p)}


def test_every_rule_is_about_a_permission_of_the_contract(policy: Policy) -> None:
    named = {rule.split(", ")[3] for rule in policy.rules if rule.startswith("p,")}
    assert named <= PERSONAL | INTERNAL


def test_every_permission_for_people_is_granted_to_a_listener_and_none_for_services(
    enforcer: casbin.Enforcer,
) -> None:
    assert granted(enforcer, "listener") == PERSONAL


def test_a_service_holds_the_internal_permissions_and_plays_only(enforcer: casbin.Enforcer) -> None:
    assert granted(enforcer, "service") == INTERNAL | {"spotify.play.list"}


def test_nobody_but_a_listener_sees_what_people_listen_to(enforcer: casbin.Enforcer) -> None:
    for role in ("owner", "manager", "auditor", "operator"):
        assert not {p for p in granted(enforcer, role) if p.startswith(("spotify.", "ai.recommendation"))}, (
            role
        )


def test_an_owner_has_all_that_a_manager_has(enforcer: casbin.Enforcer) -> None:
    assert granted(enforcer, "owner") >= granted(enforcer, "manager") >= granted(enforcer, "member")
    assert granted(enforcer, "member") >= {"auth.user.get", "auth.session.end"}


def test_an_unknown_role_holds_nothing(enforcer: casbin.Enforcer) -> None:
    assert granted(enforcer, "stranger") == set()


def test_only_auditors_and_operators_reach_beyond_their_own(policy: Policy) -> None:
    wide = {tuple(rule.split(", ")[1:4:2]) for rule in policy.rules if rule.endswith("tenant, allow")}
    assert {role for role, permission in wide if permission in PERSONAL} == {"auditor", "operator", "manager"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("p, role, *, a.b.c, own", "neither"),
        ("x, role, *, a.b.c, own, allow", "neither"),
        ("p, role, *, a.b.c, everything, allow", "own|tenant"),
        ("p, role, *, a.b.c, own, perhaps", "own|tenant"),
        ("p, role, *, *.get, own, allow", "not at the end"),
        ("p, , *, a.b.c, own, allow", "empty"),
        ("g, role", "neither"),
        ("p, role, *, " + "a" * 512 + ", own, allow", "longer"),
        ("g, a, b\ng, a, b", "twice"),
    ],
)
def test_a_rule_nobody_could_have_meant_is_refused(line: str, says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        parse_policy("", line)


def test_comments_and_spelling_do_not_change_the_digest() -> None:
    plain = parse_policy("m", "p, a, *, x.y.z, own, allow")
    assert parse_policy("m", "# why\n\np,a,*,x.y.z,own,allow\n").digest == plain.digest
    assert parse_policy("n", "p, a, *, x.y.z, own, allow").digest != plain.digest
