"""Keys as files: signing keys that only their owner can read, and the services' public keys.

A signing key is `<folder>/<created, seconds since the epoch>-<id>.pem`, mode 0600, PKCS #8. The name
carries the age, because rotation is a function of it and a file's own times do not survive a copy or a
restore.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from services.auth.model.signing_key import PublicJwk, SigningKey, public_jwk
from services.runtime.settings import read_secret

_PUBLIC = ".service.pub.pem"
_KEY_FILE = re.compile(r"(\d{1,12})-[A-Za-z0-9_-]{43}\.pem")


class SigningKeyFiles:
    """The SigningKeyStore of `ports`, in one folder."""

    def __init__(self, folder: Path) -> None:
        """Reads nothing yet."""
        self._folder = folder

    def load(self) -> Sequence[SigningKey]:
        """Every key in the folder, oldest first. Raises ValueError for a file that is not such a key."""
        files = sorted(self._folder.glob("*.pem")) if self._folder.is_dir() else []
        return [self._read(path) for path in files]

    def ensure_first(self, now: datetime) -> None:
        """Makes the first key where there is none. Of processes that start together, one makes it and all
        see it.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self._folder / ".lock", "w", opener=_owner_only) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.load():
                self.add(now)

    def add(self, now: datetime) -> SigningKey:
        """Makes a further key: rotation begins. It signs once it has been published for the lead time."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        private = Ed25519PrivateKey.generate()
        key = SigningKey(public_jwk(private.public_key()).kid, now.replace(microsecond=0), private)
        path = self._path(key.kid, key.created_at)
        draft = path.with_suffix(".draft")
        with open(draft, "xb", opener=_owner_only) as file:
            file.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)  # Whole or not there: a reader never sees half a key.
        return key

    def remove(self, key: SigningKey) -> None:
        """Forgets a key whose last token has expired."""
        self._path(key.kid, key.created_at).unlink(missing_ok=True)

    def _path(self, kid: str, created_at: datetime) -> Path:
        return self._folder / f"{int(created_at.timestamp())}-{kid}.pem"

    def _read(self, path: Path) -> SigningKey:
        named = _KEY_FILE.fullmatch(path.name)
        if named is None:
            raise ValueError(f"{path} is not named like a signing key")
        private = _ed25519(read_secret(path), path)
        kid = public_jwk(private.public_key()).kid
        if kid not in path.name:
            raise ValueError(f"{path} holds another key than its name says")
        return SigningKey(kid, datetime.fromtimestamp(int(named[1]), UTC), private)


class ServiceKeyFiles:
    """The ServiceKeyDirectory of `ports`: `<folder>/<service>.service.pub.pem`."""

    def __init__(self, folder: Path) -> None:
        """Reads nothing yet."""
        self._folder = folder

    def load(self) -> Sequence[PublicJwk]:
        """The key of every service that has one. Raises ValueError for a file that is no Ed25519 public
        key.
        """
        files = sorted(self._folder.glob(f"*{_PUBLIC}")) if self._folder.is_dir() else []
        keys = []
        for path in files:
            key = load_pem_public_key(path.read_bytes())
            if not isinstance(key, Ed25519PublicKey):
                raise ValueError(f"{path} is not an Ed25519 key")
            keys.append(public_jwk(key, prefix=f"service:{path.name.removesuffix(_PUBLIC)}:"))
        return keys


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _ed25519(pem: bytes, path: Path) -> Ed25519PrivateKey:
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path} is not an Ed25519 key")
    return key
