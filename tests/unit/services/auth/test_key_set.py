"""The keys of the mesh over time: first, rotated, forgotten, and always enough to verify what lives."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.auth.adapters.key_files import ServiceKeyFiles, SigningKeyFiles
from services.auth.model.signing_key import KeyTerms
from services.auth.usecases.key_set import KeySet

START = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = KeyTerms(lead=timedelta(minutes=10), lifetime=timedelta(minutes=15))


def key_set(folder: Path) -> KeySet:
    return KeySet(
        SigningKeyFiles(folder / "signing"), ServiceKeyFiles(folder), TERMS, rotate_after=timedelta(days=90)
    )


def test_there_is_nothing_to_sign_with_before_it_is_open(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no signing key"):
        key_set(tmp_path).signer(START)


def test_the_first_key_is_kept_over_restarts(tmp_path: Path) -> None:
    first, second = key_set(tmp_path), key_set(tmp_path)
    first.open(START)
    second.open(START + timedelta(days=1))
    assert first.signer(START).kid == second.signer(START).kid


def test_a_year_of_tending_rotates_and_never_drops_a_key_too_early(tmp_path: Path) -> None:
    keys = key_set(tmp_path)
    keys.open(START)
    signed: list[tuple[datetime, str]] = []
    kids = set()
    for minutes in range(0, 366 * 24 * 60, 5 * 60 + 1):
        now = START + timedelta(minutes=minutes)
        keys.tend(now)
        signed.append((now, keys.signer(now).kid))
        published = {jwk.kid for jwk in keys.public_keys()}
        assert {kid for at, kid in signed if now - at < TERMS.lifetime} <= published
        kids |= published
    assert len(kids) == 5
    assert len(list((tmp_path / "signing").glob("*.pem"))) <= 2


def test_a_rotation_is_published_before_it_signs_and_after(tmp_path: Path) -> None:
    keys = key_set(tmp_path)
    keys.open(START)
    old = keys.signer(START).kid
    due = START + timedelta(days=90)
    keys.tend(due)
    assert len(keys.public_keys()) == 2
    assert keys.signer(due).kid == old
    assert keys.signer(due + TERMS.lead).kid != old
    keys.tend(due + TERMS.lead + TERMS.lifetime)
    assert old not in {jwk.kid for jwk in keys.public_keys()}


def test_services_keys_are_published_beside_ours(tmp_path: Path) -> None:
    public = Ed25519PrivateKey.generate().public_key()
    (tmp_path / "ai.service.pub.pem").write_bytes(
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    keys = key_set(tmp_path)
    keys.open(START)
    own, service = keys.public_keys()
    assert own.kid == keys.signer(START).kid
    assert service.kid.startswith("service:ai:")
