"""Tenants and users: who there is."""

from __future__ import annotations

import contextlib
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """A role that the policy file gives permissions to. Access tokens carry the names."""

    LISTENER = "listener"
    MANAGER = "manager"
    OWNER = "owner"
    AUDITOR = "auditor"
    OPERATOR = "operator"
    SERVICE = "service"


FOUNDER_ROLES = (Role.OWNER, Role.LISTENER)
"""Whoever signs up founds a tenant: they own it, and listen in it."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer of the platform: the wall that no request crosses."""

    id: str
    display_name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class User:
    """A person with an account. `email` is lower-cased for showing; look-ups use `address_key`. `etag`
    changes with every revision (AIP-154) and is empty before the account is stored.
    """

    id: str
    tenant: str
    email: str
    display_name: str
    roles: tuple[str, ...]
    password_hash: str = field(repr=False)
    created_at: datetime
    updated_at: datetime
    etag: str = ""


def address_key(email: str) -> str:
    """The form of an e-mail address under which an account is unique and found.

    Case is folded on both sides of the `@`: RFC 5321 2.4 lets the local part be case-sensitive, no mailbox
    provider in use makes it so, and two accounts that differ in case alone are one person locked out. The
    domain takes its IDNA form, so that both spellings of an international domain name meet.
    """
    local, _, domain = unicodedata.normalize("NFKC", email.strip()).rpartition("@")
    with contextlib.suppress(UnicodeError):  # Not a name IDNA knows: compared as written.
        domain = domain.encode("idna").decode("ascii")
    return f"{local.casefold()}@{domain.casefold()}"
