"""The compiled policy answers as plain Casbin does."""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path

import casbin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.auth.adapters.policy_file import read_policy
from services.runtime.authorization import MODEL, CompiledPolicy, PolicyNotUnderstood

ROLES = ["listener", "owner", "auditor", "robot"]
TENANTS = ["t1", "t2"]
PERMISSIONS = ["a.b.get", "a.b.list", "a.c.get", "x.y.z"]
PATTERNS = [*PERMISSIONS, "*", "a.*", "a.b.*", "a.b.g*", "x*", "a.*.get", "a.b.get*"]
ROOT = Path(__file__).parents[4]

permission_rules = st.builds(
    "p, {}, {}, {}, {}, {}".format,
    st.sampled_from(ROLES),
    st.sampled_from([*TENANTS, "*"]),
    st.sampled_from(PATTERNS),
    st.sampled_from(["own", "tenant"]),
    st.sampled_from(["allow", "allow", "allow", "deny"]),
)
inheritance_rules = st.builds("g, {}, {}".format, st.sampled_from(ROLES), st.sampled_from(ROLES))


def plain_casbin(rules: list[str]) -> casbin.Enforcer:
    """Casbin itself, reading the rules from a file."""
    with tempfile.TemporaryDirectory() as folder:
        model, policy = Path(folder) / "model.conf", Path(folder) / "policy.csv"
        model.write_text(MODEL)
        policy.write_text("\n".join(rules))
        return casbin.Enforcer(str(model), str(policy))


@settings(max_examples=150, deadline=None)
@given(
    rules=st.lists(permission_rules | inheritance_rules, max_size=12, unique=True),
    held=st.lists(st.sampled_from(ROLES), max_size=3, unique=True),
)
def test_decisions_equal_plain_casbin(rules: list[str], held: list[str]) -> None:
    compiled = CompiledPolicy(MODEL, rules, "d")
    # The caller is a subject that inherits all of its roles: what one request to Casbin can express.
    casbin_ = plain_casbin([*rules, *(f"g, caller, {role}" for role in held)])
    for tenant, permission in product(TENANTS, PERMISSIONS):
        expected = casbin_.enforce("caller", tenant, permission)
        decision = compiled.decide(tenant, tuple(held), permission)
        assert decision.allowed == expected, (tenant, permission)
        assert decision.rule in rules or decision.rule == "no rule grants it"
        assert decision.allowed == (decision.scope in ("own", "tenant"))


@settings(max_examples=60, deadline=None)
@given(
    rules=st.lists(permission_rules | inheritance_rules, max_size=12, unique=True),
    scope_of=st.sampled_from(ROLES),
)
def test_the_scope_is_tenant_where_casbin_matches_such_a_rule(rules: list[str], scope_of: str) -> None:
    compiled = CompiledPolicy(MODEL, rules, "d")
    only_tenant = plain_casbin([rule for rule in rules if ", own, allow" not in rule])
    for tenant, permission in product(TENANTS, PERMISSIONS):
        decision = compiled.decide(tenant, (scope_of,), permission)
        assert (decision.scope == "tenant") == only_tenant.enforce(scope_of, tenant, permission)


@pytest.mark.parametrize("length", range(8, 14))
def test_inheritance_ends_where_casbin_ends_it(length: int) -> None:
    rules = [f"g, r{n}, r{n + 1}" for n in range(length)] + [f"p, r{length}, *, a.b.get, own, allow"]
    expected = plain_casbin(rules).enforce("r0", "t1", "a.b.get")
    assert CompiledPolicy(MODEL, rules, "d").decide("t1", ("r0",), "a.b.get").allowed == expected


def test_the_shipped_policy_is_understood_and_equals_casbin() -> None:
    policy = read_policy(ROOT / "services/auth/policy_model.conf", ROOT / "services/auth/policy.csv")
    compiled, plain = (
        CompiledPolicy(policy.model, policy.rules, policy.digest),
        plain_casbin(list(policy.rules)),
    )
    parts = [[part.strip() for part in rule.split(",")] for rule in policy.rules]
    roles = {part[1] for part in parts}
    permissions = {part[3] for part in parts if part[0] == "p"} | {"no.such.thing"}
    allowed = 0
    for role, permission in product(roles, permissions):
        decision = compiled.decide("t1", (role,), permission)
        assert decision.allowed == plain.enforce(role, "t1", permission)
        allowed += decision.allowed
    assert allowed > 10
    assert compiled.decide("t1", ("listener",), "spotify.play.list").rule == (
        "p, listener, *, spotify.play.list, own, allow"
    )
    assert not compiled.decide("t1", ("service", "owner"), "compliance.consent.grant").allowed


@pytest.mark.parametrize(
    ("model", "rule"),
    [
        (MODEL.replace("keyMatch", "keyMatch2"), "p, a, *, b, own, allow"),
        (MODEL, "p, a, *, b, own, perhaps"),
        (MODEL, "p, a, *, b, mine, allow"),
        (MODEL, "g2, a, b"),
        (MODEL, "p, a, *, b"),
    ],
)
def test_what_is_not_understood_is_refused(model: str, rule: str) -> None:
    with pytest.raises(PolicyNotUnderstood):
        CompiledPolicy(model, [rule], "d")
