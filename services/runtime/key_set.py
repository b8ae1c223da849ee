"""The public keys that verify access tokens, as auth publishes them (RFC 7517), kept current."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from polyphony.auth.v1.token_pb2 import JsonWebKey

Fetch = Callable[[], Awaitable[Iterable[JsonWebKey]]]
"""Asks auth for its key set; in auth itself, reads it from where it lies."""

_LOG = logging.getLogger(__name__)


class KeySet:
    """The keys by id. Fetched at start, every `interval` seconds, and when a token names an unknown key, but then at
    most once in `patience` seconds, so that forged ids cannot be used to load auth."""

    def __init__(self, fetch: Fetch, *, interval: float = 300.0, patience: float = 5.0) -> None:
        self._fetch = fetch
        self._interval = interval
        self._patience = patience
        self._keys: Mapping[str, Ed25519PublicKey] = {}
        self._asked = float("-inf")
        self._fetching = asyncio.Lock()
        self._listeners: list[Callable[[], None]] = []

    @property
    def known(self) -> bool:
        """Whether any key is known."""
        return bool(self._keys)

    def on_removal(self, listener: Callable[[], None]) -> None:
        """Call `listener` when a key is gone: what it verified is believed no longer."""
        self._listeners.append(listener)

    async def key(self, kid: str) -> Ed25519PublicKey | None:
        """The key with this id, asking auth where it is unknown; None where auth does not know it either."""
        if kid not in self._keys:
            async with self._fetching:
                if kid not in self._keys and time.monotonic() - self._asked >= self._patience:
                    await self._refresh()
        return self._keys.get(kid)

    async def run(self) -> None:
        """Keep the keys current until cancelled."""
        delay = 0.1
        while True:
            async with self._fetching:
                fetched = await self._refresh()
            delay = self._interval if fetched else min(2 * delay, 5.0)
            await asyncio.sleep(delay)
            if fetched:
                delay = 0.1

    async def _refresh(self) -> bool:
        self._asked = time.monotonic()
        try:
            keys = {jwk.kid: key for jwk in await self._fetch() if (key := public_key(jwk)) is not None}
        except Exception as error:
            _LOG.warning("the key set cannot be fetched: %s", type(error).__name__)
            return False
        removed = self._keys.keys() - keys.keys()
        self._keys = keys
        if removed:
            for listener in self._listeners:
                listener()
        return bool(keys)


def public_key(jwk: JsonWebKey) -> Ed25519PublicKey | None:
    """The Ed25519 signature key that `jwk` describes, or None for any other kind of key (RFC 8725 3.1, RFC 8037)."""
    if (jwk.kty, jwk.crv, jwk.use, jwk.alg) != ("OKP", "Ed25519", "sig", "EdDSA") or not jwk.kid:
        return None
    try:
        raw = base64.urlsafe_b64decode(jwk.x + "=" * (-len(jwk.x) % 4))
        return Ed25519PublicKey.from_public_bytes(raw)
    except (binascii.Error, ValueError):
        return None
