"""Signed checkpoints: a C2SP ``tlog-checkpoint`` in a C2SP ``signed-note`` envelope, signed with Ed25519.

A checkpoint is three lines of text (the log's origin, its number of leaves, its root in base64), an empty
line, and one signature line per signer. Whoever holds one and the public key can check a receipt without
asking anybody. No grpc and no SQL here: the offline verifier imports this file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.compliance.merkle import HASH_SIZE

ED25519 = b"\x01"
"""The signature type of signed-note for Ed25519."""

_SIGNATURE_MARK = "\u2014 "  # an em dash and a space begin every signature line


class CheckpointError(ValueError):
    """A note is malformed, signed by nobody we know, or its signature does not hold."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log's operator commits to: ``size`` leaves of the log ``origin`` have the root ``root``."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        """The signed text, ending with a line feed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half: a name and an Ed25519 key."""

    name: str
    public: Ed25519PublicKey

    @property
    def key_id(self) -> bytes:
        """Four bytes that select the key: SHA-256 of name, line feed, type and key, cut off."""
        raw = self.public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + raw).digest()[:4]

    def encode(self) -> str:
        """The ``vkey`` form: ``name+keyid+base64``, one line, made to be pasted."""
        raw = self.public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(ED25519 + raw).decode()}"

    @classmethod
    def from_bytes(cls, name: str, raw: bytes) -> VerifierKey:
        """The key of a name from its 32 bytes. Raises :class:`CheckpointError` when they are no key."""
        if len(raw) != 32:
            raise CheckpointError("an Ed25519 public key has 32 bytes")
        return cls(name, Ed25519PublicKey.from_public_bytes(raw))

    @classmethod
    def decode(cls, text: str) -> VerifierKey:
        """Reads the ``vkey`` form. Raises :class:`CheckpointError` when it is not one."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        material = _decode_base64(encoded, "the verifier key")
        if not _is_key_name(name) or material[:1] != ED25519:
            raise CheckpointError("not an Ed25519 verifier key of the form name+keyid+base64")
        key = cls.from_bytes(name, material[1:])
        if key.key_id.hex() != key_id:
            raise CheckpointError(f"the key id of {name!r} does not belong to its key")
        return key


@dataclass(frozen=True, slots=True)
class CheckpointSigner:
    """The private half, held by the signer of checkpoints only."""

    name: str
    private: Ed25519PrivateKey

    def __post_init__(self) -> None:
        if not _is_key_name(self.name):
            raise CheckpointError(f"a key name is not empty and has no space and no plus sign: {self.name!r}")

    @property
    def verifier(self) -> VerifierKey:
        """The key that checks what this one signs."""
        return VerifierKey(self.name, self.private.public_key())

    def sign(self, checkpoint: Checkpoint) -> str:
        """The signed note."""
        body = checkpoint.body()
        signature = self.verifier.key_id + self.private.sign(body.encode())
        return f"{body}\n{_SIGNATURE_MARK}{self.name} {base64.b64encode(signature).decode()}\n"


def open_checkpoint(note: str, key: VerifierKey) -> Checkpoint:
    """Verifies the note's signature by ``key`` and reads the checkpoint in it.

    Signatures by other keys are ignored, as signed-note asks. Raises :class:`CheckpointError` when none by
    ``key`` holds.
    """
    body, separator, signatures = note.rpartition("\n\n")
    body += "\n"
    if not separator or not signatures.endswith("\n"):
        raise CheckpointError("a signed note is a text, an empty line and signature lines")
    for line in signatures[:-1].split("\n"):
        if not line.startswith(_SIGNATURE_MARK):
            raise CheckpointError("a signature line begins with an em dash and a space")
        name, _, encoded = line[len(_SIGNATURE_MARK) :].partition(" ")
        signature = _decode_base64(encoded, "a signature")
        if name == key.name and signature[:4] == key.key_id:
            try:
                key.public.verify(signature[4:], body.encode())
            except InvalidSignature:
                raise CheckpointError(f"the signature by {name!r} does not hold") from None
            return _parse(body)
    raise CheckpointError(f"the checkpoint is not signed by {key.name!r} ({key.key_id.hex()})")


def _parse(body: str) -> Checkpoint:
    lines = body.split("\n")
    if len(lines) < 4 or not lines[0]:
        raise CheckpointError("a checkpoint has at least three lines: origin, size, root")
    origin, size, root = lines[0], lines[1], _decode_base64(lines[2], "the root")
    if not (size.isascii() and size.isdigit()) or (size.startswith("0") and size != "0"):
        raise CheckpointError(f"the size of a checkpoint is a plain decimal number, not {size!r}")
    if len(root) != HASH_SIZE:
        raise CheckpointError(f"the root of a checkpoint has {HASH_SIZE} bytes")
    return Checkpoint(origin, int(size), root)


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(char.isspace() for char in name)


def _decode_base64(text: str, what: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CheckpointError(f"{what} is not base64") from None
    if base64.b64encode(value).decode() != text:
        raise CheckpointError(f"{what} is not canonical base64")
    return value
