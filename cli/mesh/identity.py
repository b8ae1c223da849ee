"""The keys and certificates of a development mesh, made once and closed to everyone but their owner.

Production brings its own: the same settings point at them. Nothing that exists is ever replaced here.
"""

import ipaddress
import os
import secrets
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=825)
"""Of development certificates: the longest that Apple's verifier accepts."""
KEK_BYTES = 32


@dataclass(frozen=True, slots=True)
class Certificates:
    """What speaks TLS at the edge, and who vouches for it."""

    ca: Path
    edge: Path
    edge_key: Path


def make_keys(folder: Path, domains: Iterable[str]) -> None:
    """Make what is missing in the keys folder (0700; each file 0600).

    For each domain its key-encryption key (`<domain>.kek`, 32 random bytes) and its Ed25519 service key
    (`<domain>.service.pem`, PKCS #8), with the public halves in `<domain>.service.pub.pem`; the key that signs the
    audit ledger's checkpoints (`checkpoint.pem`, with its public half); the passwords of Redis and Triton and of the
    demo account.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for domain in domains:
        _once(folder / f"{domain}.kek", lambda: os.urandom(KEK_BYTES))
        private = folder / f"{domain}.service.pem"
        _once(private, _ed25519)
        _once(folder / f"{domain}.service.pub.pem", partial(_public_half, private))
    _once(folder / "checkpoint.pem", _ed25519)
    _once(folder / "checkpoint.pub.pem", partial(_public_half, folder / "checkpoint.pem"))
    for name in ("redis.password", "triton.key", "demo.password"):
        _once(folder / name, lambda: secrets.token_urlsafe(32).encode())


def checkpoint_public_key(folder: Path) -> bytes:
    """The 32 bytes that verify the mesh's checkpoints, from its keys folder and not from the mesh itself."""
    key = serialization.load_pem_public_key((folder / "checkpoint.pub.pem").read_bytes())
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def certificates_in(certificates: Path, keys: Path) -> Certificates:
    """Where `make_certificates` puts them, whether or not it did."""
    return Certificates(certificates / "ca.pem", certificates / "edge.pem", keys / "edge.key")


def make_certificates(certificates: Path, keys: Path) -> Certificates:
    """Make a certificate authority and a certificate for localhost, unless they exist and still hold for a month."""
    made = certificates_in(certificates, keys)
    if made.edge.exists() and _expiry(made.edge) > datetime.now(UTC) + timedelta(days=30):
        return made
    certificates.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The authority's own key is thrown away: nobody can ever make another certificate that this machine trusts.
    ca_key, edge_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Polyphony development CA")])
    ca = (
        _certificate(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    edge_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    edge = (
        _certificate(edge_name, ca_name, edge_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(_key_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    _write(made.ca, ca.public_bytes(serialization.Encoding.PEM))
    _write(made.edge_key, _pem(edge_key))
    _write(made.edge, edge.public_bytes(serialization.Encoding.PEM))
    return made


def too_open(folder: Path) -> list[Path]:
    """The files and folders at and under `folder` that someone else than their owner may touch."""
    found = [folder, *folder.rglob("*")] if folder.exists() else []
    return [path for path in found if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077]


def _once(path: Path, make: Callable[[], bytes]) -> None:
    if not path.exists():
        _write(path, make())


def _write(path: Path, content: bytes) -> None:
    """Write whole or not at all; never readable by others, not even for a moment."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _ed25519() -> bytes:
    return _pem(ed25519.Ed25519PrivateKey.generate())


def _pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_half(private: Path) -> bytes:
    key = serialization.load_pem_private_key(private.read_bytes(), password=None)
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _expiry(certificate: Path) -> datetime:
    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )
