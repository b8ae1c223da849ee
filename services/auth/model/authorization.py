"""What every service must know to authorise: the rules of roles, and which sessions are over."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

MAX_RULE_LENGTH = 512
"""Characters of one rule, as the contract bounds them."""

_SCOPES = {"own", "tenant"}
_EFFECTS = {"allow", "deny"}


class PolicyError(ValueError):
    """A rule that no one could have meant. The text quotes it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A Casbin model and its rules, each one line of Casbin's CSV form with `, ` between the parts."""

    model: str
    rules: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The SHA-256 of model and rules in lower-case hex: audit records name the policy that decided by
        it.
        """
        return hashlib.sha256("\n".join((self.model, *self.rules)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RevokedSession:
    """A session whose tokens are refused until `forget_at`, when the last of them has expired."""

    session: str
    forget_at: datetime


@dataclass(frozen=True, slots=True)
class AuthorizationState:
    """All of it at one version."""

    policy: Policy
    revoked: tuple[RevokedSession, ...]


AuthorizationChange = Policy | RevokedSession
"""One step from one version to the next: other rules, or one more session that is over."""


def parse_policy(model: str, csv: str) -> Policy:
    """The policy in a CSV text; empty lines and those that begin with `#` are left out.

    Raises PolicyError for a line that is neither `p, role, tenant, permission, own|tenant, allow|deny` nor
    `g, role, inherited role`, for a `*` anywhere but at the end of a permission, and for the same rule twice.
    """
    rules: list[str] = []
    for line in csv.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = [part.strip() for part in line.split(",")]
        _check(line, parts)
        rule = ", ".join(parts)
        if rule in rules:
            raise PolicyError(f"the rule {rule!r} is there twice")
        rules.append(rule)
    return Policy(model, tuple(rules))


def _check(line: str, parts: Sequence[str]) -> None:
    if not all(parts) or len(line) > MAX_RULE_LENGTH:
        raise PolicyError(
            f"the rule {line[:80]!r} has an empty part or is longer than {MAX_RULE_LENGTH} characters"
        )
    match parts:
        case ["p", _, _, permission, scope, effect]:
            if scope not in _SCOPES or effect not in _EFFECTS:
                raise PolicyError(f"the rule {line!r} does not end in own|tenant, allow|deny")
            if "*" in permission[:-1]:
                # Casbin's keyMatch ends at the first star: `*.get` would permit everything.
                raise PolicyError(f"the rule {line!r} has a `*` that is not at the end of its permission")
        case ["g", _, _]:
            pass
        case _:
            raise PolicyError(
                f"the rule {line!r} is neither a permission (p, 6 parts) nor an inheritance (g, 3 parts)"
            )
