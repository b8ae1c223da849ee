"""The tables of the auth domain."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.runtime.persistence import (
    BlindIndex,
    Instant,
    Revisioned,
    Sealed,
    TenantScoped,
    domain_metadata,
)


class Entity(DeclarativeBase):
    """The root of the domain's tables."""

    metadata = domain_metadata()


class TenantRow(TenantScoped, Entity):
    """One tenant; its scope is itself. The name is its founder's words, and sealed under the founder's key."""

    __tablename__ = "tenants"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    founder: Mapped[str] = mapped_column(String(64))
    display_name: Mapped[bytes] = mapped_column(
        Sealed(field="polyphony.auth.v1.SignUpRequest.tenant_display_name")
    )
    create_time: Mapped[datetime] = mapped_column(Instant)


class UserRow(Revisioned, TenantScoped, Entity):
    """One account. `address` is unique over all tenants, so that an address says whose account it is."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    address: Mapped[bytes] = mapped_column(BlindIndex(field="polyphony.auth.v1.User.email"), unique=True)
    email: Mapped[bytes] = mapped_column(
        Sealed("polyphony.auth.v1.User.email", "polyphony.auth.v1.SignUpRequest.email")
    )
    display_name: Mapped[bytes] = mapped_column(
        Sealed("polyphony.auth.v1.User.display_name", "polyphony.auth.v1.SignUpRequest.display_name")
    )
    roles: Mapped[list[str]] = mapped_column(JSON)
    password_hash: Mapped[str] = mapped_column(String(255))
    create_time: Mapped[datetime] = mapped_column(Instant)
    update_time: Mapped[datetime] = mapped_column(Instant)


class SessionRow(TenantScoped, Entity):
    """One family of refresh tokens. `recent` holds pairs of generation and microseconds since the epoch."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    user: Mapped[str] = mapped_column(String(64), index=True)
    generation: Mapped[int] = mapped_column(BigInteger)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary)
    recent: Mapped[list[list[int]]] = mapped_column(JSON)
    authenticate_time: Mapped[datetime] = mapped_column(Instant)
    refresh_time: Mapped[datetime] = mapped_column(Instant)
    expire_time: Mapped[datetime] = mapped_column(Instant, index=True)
    end_time: Mapped[datetime | None] = mapped_column(Instant)
    end_reason: Mapped[str] = mapped_column(String(32))


class LoginAttemptsRow(TenantScoped, Entity):
    """Attempts at one address since the last success, whether or not it has an account."""

    __tablename__ = "login_attempts"

    address: Mapped[bytes] = mapped_column(BlindIndex(field="polyphony.auth.v1.User.email"), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    last_time: Mapped[datetime] = mapped_column(Instant, index=True)
    next_time: Mapped[datetime] = mapped_column(Instant)


class RevokedSessionRow(TenantScoped, Entity):
    """A session whose access tokens are refused, as one step of the authorisation state."""

    __tablename__ = "revoked_sessions"

    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    session: Mapped[str] = mapped_column(String(64))
    forget_time: Mapped[datetime] = mapped_column(Instant, index=True)


class AuthorizationHeadRow(Entity):
    """The one row whose lock orders all changes of the authorisation state. It belongs to the mesh, to no
    tenant.

    The rules in force are kept with it, so that workers of two releases hand out one policy and not two.
    """

    __tablename__ = "authorization_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(BigInteger)
    policy_version: Mapped[int] = mapped_column(BigInteger)
    model: Mapped[str] = mapped_column(Text)
    rules: Mapped[list[Any]] = mapped_column(JSON)
    digest: Mapped[str] = mapped_column(String(64))
