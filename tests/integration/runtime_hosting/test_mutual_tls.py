"""Listeners and channels speak mutual TLS where the settings say so, and talk to nobody without a certificate."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from interceptors.faults import Fault
from services.runtime.channels import Channels
from services.runtime.hosting import Service
from services.runtime.lifecycle import Host
from services.runtime.service_identity import ServiceIdentity
from services.runtime.settings import ServiceSettings, service_config


class Settings(ServiceSettings):
    """Of a domain that exists in this test only."""

    model_config = service_config("garden")
    drain_seconds: float = 0


def certify(folder: Path) -> dict[str, Path]:
    """An authority and one certificate for 127.0.0.1, as the settings name them."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    service = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "garden")])

    def certificate(subject: x509.Name, public: Any, *, is_authority: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        return (
            x509.CertificateBuilder(authority, subject, public, x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(address, critical=False)
            .sign(authority_key, hashes.SHA256())
        )

    folder.mkdir()
    paths = {name: folder / name for name in ("tls_ca_file", "tls_certificate_file", "tls_key_file")}
    made = certificate(authority, authority_key.public_key(), is_authority=True)
    paths["tls_ca_file"].write_bytes(made.public_bytes(Encoding.PEM))
    made = certificate(service, key.public_key(), is_authority=False)
    paths["tls_certificate_file"].write_bytes(made.public_bytes(Encoding.PEM))
    paths["tls_key_file"].touch(mode=0o600)
    paths["tls_key_file"].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


async def echo(request: bytes, _context: Any) -> bytes:
    return request


def add_echo(servicer: Any, server: Any) -> None:
    """What generated code would do."""
    server.add_registered_method_handlers(
        "test.Echo", {"Echo": grpc.unary_unary_rpc_method_handler(servicer)}
    )


async def test_only_the_meshs_own_certificates_are_let_in(tmp_path: Path) -> None:
    ours, strangers = certify(tmp_path / "ours"), certify(tmp_path / "strangers")
    settings = Settings(home=tmp_path, **ours)  # type: ignore[arg-type]
    identity = ServiceIdentity("garden", Ed25519PrivateKey.generate(), audience="polyphony")
    service = Service("garden", settings, [(add_echo, echo)])
    async with Host([service]):
        endpoint = f"127.0.0.1:{service.port}"

        async def call(with_settings: ServiceSettings) -> bytes:
            channels = Channels(with_settings, identity)
            try:
                answer: bytes = await channels.for_itself(endpoint).unary_unary("/test.Echo/Echo")(
                    b"x", timeout=3.0
                )
                return answer
            finally:
                await channels.close()

        assert await call(settings) == b"x"
        for stranger in (Settings(home=tmp_path), Settings(home=tmp_path, **strangers)):  # type: ignore[arg-type]
            with pytest.raises(Fault, match="DEPENDENCY_UNAVAILABLE"):
                await call(stranger)
        half = {**strangers, "tls_ca_file": ours["tls_ca_file"]}  # trusts us, but is not one of us
        with pytest.raises(Fault, match="DEPENDENCY_UNAVAILABLE"):
            await call(Settings(home=tmp_path, **half))  # type: ignore[arg-type]
