"""The policy of roles, compiled from Casbin's model and rules into lookups.

Casbin is the language and the source of truth; a test holds this compiler to plain Casbin's answers on generated
policies. It understands one model, the one below, and refuses any other rather than guess.

A caller has several roles. A rule matches one of them or a role that it inherits (over at most nine steps, as in
Casbin), the caller's tenant or `*`, and the permission, or its beginning where the rule ends in `*`. One deny outweighs
every allow. An allowed caller's scope is `tenant` where any matching rule says so, else `own`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from interceptors.ports import Decision

MODEL = """\
[request_definition]
r = sub, dom, act
[policy_definition]
p = sub, dom, act, scope, eft
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = g(r.sub, p.sub) && (p.dom == "*" || r.dom == p.dom) && keyMatch(r.act, p.act)
"""
MAX_INHERITANCE_STEPS = 9
_MAX_REMEMBERED_DECISIONS = 65_536


class PolicyNotUnderstood(ValueError):
    """The policy is written for another model, or a rule has another form than it defines."""


@dataclass(frozen=True, slots=True)
class _Rule:
    text: str
    tenant: str
    scope: str
    allow: bool


@dataclass(frozen=True, slots=True)
class _RoleRules:
    """The rules of one role, its inherited ones included: by whole permission, and by beginning."""

    exact: Mapping[str, Sequence[_Rule]]
    beginnings: Sequence[tuple[str, _Rule]]

    def matching(self, permission: str) -> Iterable[_Rule]:
        yield from self.exact.get(permission, ())
        yield from (rule for beginning, rule in self.beginnings if permission.startswith(beginning))


class CompiledPolicy:
    """One immutable policy. `digest` names it in audit records."""

    def __init__(self, model: str, rules: Iterable[str], digest: str) -> None:
        """Compile. Raises PolicyNotUnderstood."""
        if _normal(model) != _normal(MODEL):
            raise PolicyNotUnderstood("the policy's Casbin model is not the one that this release compiles")
        self.digest = digest
        parents: dict[str, list[str]] = {}
        own: dict[str, list[tuple[str, _Rule]]] = {}
        for line in rules:
            match [part.strip() for part in line.split(",")]:
                case [
                    "p",
                    role,
                    tenant,
                    permission,
                    ("own" | "tenant") as scope,
                    ("allow" | "deny") as effect,
                ]:
                    rule = _Rule(line, tenant, scope, effect == "allow")
                    own.setdefault(role, []).append((permission, rule))
                case ["g", role, inherited]:
                    parents.setdefault(role, []).append(inherited)
                case _:
                    raise PolicyNotUnderstood(
                        f"the rule {line[:80]!r} has another form than the model defines"
                    )
        roles = {*own, *parents}
        self._roles = {role: _index(own, _closure(role, parents)) for role in roles}
        self._decisions: dict[tuple[str, tuple[str, ...], str], Decision] = {}

    def decide(self, tenant: str, roles: tuple[str, ...], permission: str) -> Decision:
        """Whether a caller with `roles` in `tenant` holds `permission`, and by which rule."""
        key = (tenant, roles, permission)
        decision = self._decisions.get(key)
        if decision is None:
            if len(self._decisions) >= _MAX_REMEMBERED_DECISIONS:
                self._decisions.clear()
            decision = self._decisions[key] = self._decide(tenant, roles, permission)
        return decision

    def _decide(self, tenant: str, roles: tuple[str, ...], permission: str) -> Decision:
        deciding: _Rule | None = None
        for role in roles:
            known = self._roles.get(role)
            for rule in known.matching(permission) if known is not None else ():
                if rule.tenant not in ("*", tenant):
                    continue
                if not rule.allow:
                    return Decision(False, "", rule.text, self.digest)
                if deciding is None or (rule.scope == "tenant" and deciding.scope == "own"):
                    deciding = rule
        if deciding is None:
            return Decision(False, "", "no rule grants it", self.digest)
        return Decision(True, deciding.scope, deciding.text, self.digest)


def _normal(model: str) -> list[str]:
    lines = (line.strip() for line in model.splitlines())
    return ["".join(line.split()) for line in lines if line and not line.startswith("#")]


def _closure(role: str, parents: Mapping[str, Sequence[str]]) -> list[str]:
    """`role` and what it inherits, nearest first."""
    reached, frontier = [role], [role]
    for _ in range(MAX_INHERITANCE_STEPS):
        further = [parent for each in frontier for parent in parents.get(each, ())]
        frontier = list(dict.fromkeys(parent for parent in further if parent not in reached))
        reached += frontier
    return reached


def _index(own: Mapping[str, Sequence[tuple[str, _Rule]]], roles: Iterable[str]) -> _RoleRules:
    exact: dict[str, list[_Rule]] = {}
    beginnings: list[tuple[str, _Rule]] = []
    for role in roles:
        for permission, rule in own.get(role, ()):
            beginning, star, _ = permission.partition("*")
            if star:
                beginnings.append((beginning, rule))
            else:
                exact.setdefault(permission, []).append(rule)
    return _RoleRules(exact, beginnings)
