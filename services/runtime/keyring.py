"""Envelope encryption: key-encryption key -> one data key per person -> sealed columns.

The key-encryption key (KEK) is 32 random bytes in a file that only its owner can read. Each (tenant, subject) has a
random data key, stored wrapped by the KEK in ``subject_keys`` of the domain's database. A column value is sealed with
AES-256-GCM under that key; tenant, subject, table, column and row are authenticated with it, so a ciphertext moved to
another place does not open. Destroying the data key (``tx.keys.shred``) makes everything sealed under it
unreadable, in every copy and backup of the database. Here are the keys themselves; how a transaction uses them is in
:mod:`services.runtime.persistence.subject_keys`.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

KEY_BYTES = 32


class KeyFileError(Exception):
    """A key file is missing, readable by others, or not 32 bytes long. The message says which and what to do."""


class SealBrokenError(Exception):
    """A sealed value does not open where it stands: it was moved or changed, or the key-encryption key is another."""


class Keyring:
    """The key-encryption keys of a process and the data keys that it has unwrapped lately.

    ``keys`` holds the current key first, then retired ones, which only unwrap. ``capacity`` bounds how many unwrapped
    data keys stay in memory.
    """

    def __init__(self, keys: Sequence[bytes], *, capacity: int = 4096) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise KeyFileError(f"a key-encryption key is {KEY_BYTES} bytes long")
        self._wrappers = {_key_id(key): AESGCM(key) for key in keys}
        self.current = _key_id(keys[0])
        self._root = keys[0]
        self._capacity = capacity
        self._unwrapped: OrderedDict[bytes, DataKey] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def from_file(cls, path: Path, *, retired: Sequence[Path] = (), capacity: int = 4096) -> Keyring:
        """Read the key files; raises :class:`KeyFileError` when one is missing or others may read it."""
        return cls([_read_key(file) for file in (path, *retired)], capacity=capacity)

    @staticmethod
    def create_file(path: Path) -> None:
        """Write a new random key with mode 0600; raises ``FileExistsError`` rather than replace one."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())

    def derive(self, purpose: str) -> bytes:
        """Return a 32-byte key for another purpose (HKDF-SHA-256, RFC 5869), stable until the key is rotated."""
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=purpose.encode()).derive(self._root)

    def wrap(self, data_key: bytes, tenant: str, subject: str) -> bytes:
        """Encrypt a data key under the current key-encryption key."""
        nonce = os.urandom(12)
        return nonce + self._wrappers[self.current].encrypt(
            nonce, data_key, bind_parts("key", tenant, subject)
        )

    def unwrap(self, wrapped: bytes, kek: str, tenant: str, subject: str) -> bytes:
        """Decrypt a data key; raises :class:`KeyFileError` when its key-encryption key is not here."""
        wrapper = self._wrappers.get(kek)
        if wrapper is None:
            raise KeyFileError(
                f"data keys are wrapped by the key-encryption key {kek}, which is not among the key files"
            )
        try:
            return wrapper.decrypt(wrapped[:12], wrapped[12:], bind_parts("key", tenant, subject))
        except InvalidTag:
            raise SealBrokenError("a wrapped data key does not belong to its row") from None

    def data_key(self, wrapped: bytes, kek: str, tenant: str, subject: str) -> DataKey:
        """The prepared data key of a row, from memory where it was unwrapped lately."""
        with self._lock:
            found = self._unwrapped.get(wrapped)
            if found is not None:
                self._unwrapped.move_to_end(wrapped)
        if found is None:
            found = DataKey.of(self.unwrap(wrapped, kek, tenant, subject), tenant, subject)
            with self._lock:
                self._unwrapped[wrapped] = found
                while len(self._unwrapped) > self._capacity:
                    self._unwrapped.popitem(last=False)
        if (found.tenant, found.subject) != (tenant, subject):
            raise SealBrokenError("a wrapped data key does not belong to its row")
        return found

    def forget(self, wrapped: bytes) -> None:
        """Drop an unwrapped data key from memory."""
        with self._lock:
            self._unwrapped.pop(wrapped, None)


@dataclass(frozen=True, slots=True)
class DataKey:
    tenant: str
    subject: str
    cipher: AESGCM
    index: bytes

    @classmethod
    def of(cls, key: bytes, tenant: str, subject: str) -> DataKey:
        return cls(tenant, subject, AESGCM(key), HKDFExpand(SHA256(), KEY_BYTES, b"blind index").derive(key))


def bind_parts(*parts: str) -> bytes:
    """Join parts so that no two lists of parts give the same bytes: each is preceded by its length."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"polyphony kek" + key).hexdigest()[:16]


def _read_key(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            key = file.read(KEY_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"the key file {path.name} cannot be read: {error.strerror}") from None
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise KeyFileError(f"the key file {path.name} is open to others: run chmod 600 on it")
    if status.st_uid != os.geteuid():
        raise KeyFileError(f"the key file {path.name} belongs to another user")
    if len(key) != KEY_BYTES:
        raise KeyFileError(f"the key file {path.name} does not hold {KEY_BYTES} bytes")
    return key
