"""What the auth domain needs from outside, as Protocols that the adapters fill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .model.access_token import AccessTokenClaims
from .model.signing_key import PublicJwk, SigningKey


class PasswordHasher(Protocol):
    """Slow, memory-hard password hashing, off the event loop."""

    async def hash(self, password: str) -> str:
        """The encoded hash of a new password. Raises Fault OVERLOADED when too many wait."""

    async def verify(self, password: str, encoded: str | None) -> bool:
        """Whether the password is the one that was hashed; for an account that does not exist `encoded` is None, and
        the same work is done before the answer no. Raises Fault OVERLOADED when too many wait."""

    def is_outdated(self, encoded: str) -> bool:
        """Whether the hash was made with other parameters than today's."""


class AccessTokenSigner(Protocol):
    """Turns claims into a signed access token."""

    def sign(self, claims: AccessTokenClaims, key: SigningKey) -> str:
        """The compact JWS that a client sends as its bearer token."""


class SigningKeyStore(Protocol):
    """Where signing keys are kept. Every auth process of a mesh sees the same ones."""

    def load(self) -> Sequence[SigningKey]:
        """Every key there is."""


class ServiceKeyDirectory(Protocol):
    """The public keys with which the services of the mesh prove who they are."""

    def load(self) -> Sequence[PublicJwk]:
        """Every service's key, with the id `service:<name>:<thumbprint>`."""
