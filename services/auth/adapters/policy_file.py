"""Reads the policy of roles from its two files."""

from __future__ import annotations

from pathlib import Path

from services.auth.model.authorization import Policy, parse_policy


def read_policy(model: Path, rules: Path) -> Policy:
    """The policy. Raises OSError for a file that cannot be read, PolicyError for a rule that makes no
    sense.
    """
    lines = model.read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if line.strip() and not line.startswith("#"))
    return parse_policy(text, rules.read_text("utf-8"))
