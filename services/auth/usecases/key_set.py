"""Know the keys that sign, publish those that verify, and replace them when they are old."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from services.auth.model.signing_key import KeyTerms, PublicJwk, SigningKey, public_jwk, published, signer
from services.auth.ports import ServiceKeyDirectory, SigningKeyStore


class KeySet:
    """The signing keys of the mesh and the public keys of its services, as last read. `tend` keeps it
    current.
    """

    def __init__(
        self,
        store: SigningKeyStore,
        services: ServiceKeyDirectory,
        terms: KeyTerms,
        *,
        rotate_after: timedelta,
    ) -> None:
        """Knows no key until `open`."""
        self._store = store
        self._services = services
        self._terms = terms
        self._rotate_after = rotate_after
        self._keys: Sequence[SigningKey] = ()
        self._service_keys: Sequence[PublicJwk] = ()

    def open(self, now: datetime) -> None:
        """Makes the mesh's first key where there is none, and reads all. Blocks on files."""
        self._store.ensure_first(now)
        self.tend(now)

    def tend(self, now: datetime) -> None:
        """Adds a key when the newest is due for replacement, removes those no token needs any more, reads
        all again.

        Blocks on files. Two processes that tend at the same moment may both add a key: each is a good one.
        """
        keys = list(self._store.load())
        if keys and now - max(key.created_at for key in keys) >= self._rotate_after:
            keys.append(self._store.add(now))
        kept = published(keys, now, self._terms)
        for key in keys:
            if key not in kept:
                self._store.remove(key)
        self._keys, self._service_keys = kept, self._services.load()

    def signer(self, now: datetime) -> SigningKey:
        """The key that signs at `now`. Raises ValueError before `open`."""
        return signer(self._keys, now, self._terms)

    def public_keys(self) -> list[PublicJwk]:
        """Every key that a verifier must know: those of access tokens first, then those of the services."""
        return [*(public_jwk(key.private.public_key()) for key in self._keys), *self._service_keys]
