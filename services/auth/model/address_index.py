"""How an e-mail address is found without being stored: a keyed digest, one key for the whole mesh.

The address itself is sealed under its person's key. The digest cannot be: who logs in has not said yet who
they are.
"""

from __future__ import annotations

import hmac

from services.auth.model.account import address_key


class AddressIndex:
    """Digests of e-mail addresses under a server key of at least 32 bytes."""

    def __init__(self, key: bytes) -> None:
        """Derives its own key, so that no other use of the server key can make digests."""
        if len(key) < 32:
            raise ValueError("an address-index key has at least 32 bytes")
        self._key = hmac.digest(key, b"polyphony e-mail address index v1", "sha256")

    def of(self, email: str) -> bytes:
        """The 32-byte digest under which the account with this address is found."""
        return hmac.digest(self._key, address_key(email).encode(), "sha256")
