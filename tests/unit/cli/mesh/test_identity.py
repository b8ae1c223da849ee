"""Keys and certificates are made once, closed to others, and fit together."""

import ssl
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from cli.mesh.identity import make_certificates, make_keys, too_open


def test_keys_are_made_once_and_closed(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    make_keys(keys, ["auth", "ai"])
    before = {path.name: path.read_bytes() for path in keys.iterdir()}
    assert {"auth.kek", "ai.service.pem", "ai.service.pub.pem", "checkpoint.pem", "redis.password"} <= set(
        before
    )
    assert len(before["auth.kek"]) == 32
    assert before["auth.kek"] != before["ai.kek"]
    assert too_open(keys) == []
    make_keys(keys, ["auth", "ai"])
    assert before == {path.name: path.read_bytes() for path in keys.iterdir()}


def test_the_public_half_belongs_to_the_private_one(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys", ["auth"])
    private = load_pem_private_key((tmp_path / "keys" / "auth.service.pem").read_bytes(), None)
    public = load_pem_public_key((tmp_path / "keys" / "auth.service.pub.pem").read_bytes())
    raw = [key.public_bytes(Encoding.Raw, PublicFormat.Raw) for key in (private.public_key(), public)]  # type: ignore[union-attr]
    assert raw[0] == raw[1]


def test_an_open_key_is_found(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys", ["auth"])
    opened = tmp_path / "keys" / "auth.kek"
    opened.chmod(0o640)
    assert too_open(tmp_path / "keys") == [opened]


def test_the_certificate_is_for_this_machine_and_vouched_for(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "certs", tmp_path / "keys")
    edge, ca = (x509.load_pem_x509_certificate(path.read_bytes()) for path in (made.edge, made.ca))
    edge.verify_directly_issued_by(ca)
    names = edge.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert stat.S_IMODE(made.edge_key.stat().st_mode) == 0o600
    ssl.create_default_context(cafile=str(made.ca)).load_cert_chain(made.edge, made.edge_key)
    assert make_certificates(tmp_path / "certs", tmp_path / "keys") == made
    assert x509.load_pem_x509_certificate(made.edge.read_bytes()) == edge, "not made again"
