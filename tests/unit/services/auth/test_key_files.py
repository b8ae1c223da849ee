"""Keys as files: made once, closed to others, named after what they hold."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.auth.adapters.key_files import ServiceKeyFiles, SigningKeyFiles
from services.auth.model.signing_key import public_jwk

NOW = datetime(2026, 1, 1, 12, 0, 0, 500, tzinfo=UTC)


def test_many_starters_make_one_key(tmp_path: Path) -> None:
    stores = [SigningKeyFiles(tmp_path / "signing") for _ in range(8)]
    threads = [threading.Thread(target=store.ensure_first, args=(NOW,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key.kid for store in stores for key in store.load()}) == 1
    assert len(stores[0].load()) == 1


def test_only_the_owner_can_read_a_key(tmp_path: Path) -> None:
    store = SigningKeyFiles(tmp_path / "signing")
    store.ensure_first(NOW)
    (path,) = (tmp_path / "signing").glob("*.pem")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        store.load()


def test_rotation_adds_and_forgets(tmp_path: Path) -> None:
    store = SigningKeyFiles(tmp_path)
    store.ensure_first(NOW)
    added = store.add(NOW + timedelta(days=1))
    old, new = store.load()
    assert (new.kid, new.created_at) == (added.kid, added.created_at)
    assert old.created_at == NOW.replace(microsecond=0)
    assert new.kid == public_jwk(new.private.public_key()).kid
    store.remove(old)
    assert [key.kid for key in store.load()] == [new.kid]


@pytest.mark.parametrize("name", ["1-" + "x" * 43 + ".pem", "strange.pem"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, name: str) -> None:
    store = SigningKeyFiles(tmp_path)
    store.ensure_first(NOW)
    (path,) = tmp_path.glob("*.pem")
    path.rename(tmp_path / name)
    with pytest.raises(ValueError, match="name"):
        store.load()


def test_service_keys_are_published_under_the_services_name(tmp_path: Path) -> None:
    public = Ed25519PrivateKey.generate().public_key()
    (tmp_path / "ai.service.pub.pem").write_bytes(
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    assert ServiceKeyFiles(tmp_path).load() == [public_jwk(public, prefix="service:ai:")]
    assert ServiceKeyFiles(tmp_path / "absent").load() == []


def test_a_service_key_of_another_algorithm_is_refused(tmp_path: Path) -> None:
    public = generate_private_key(SECP256R1()).public_key()
    (tmp_path / "ai.service.pub.pem").write_bytes(
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(ValueError, match="Ed25519"):
        ServiceKeyFiles(tmp_path).load()
