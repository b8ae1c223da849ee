"""Settings: from the environment, in the state folder, with secrets closed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.runtime.settings import ServiceSettings, read_secret, service_config


class Garden(ServiceSettings):
    """Of a domain that exists in this test only."""

    model_config = service_config("garden")
    port: int = 50060
    beds: int = 12


def test_everything_lies_in_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYPHONY_HOME", str(tmp_path))
    garden = Garden()
    assert garden.domain == "garden"
    assert garden.database_url == f"sqlite:///{tmp_path}/data/garden.db"
    assert garden.kek_file == tmp_path / "keys" / "garden.kek"
    assert garden.service_key_file == tmp_path / "keys" / "garden.service.pem"
    assert (garden.port, garden.metrics_port) == (50060, 51060)


def test_the_users_home_is_not_the_meshs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYPHONY_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert Garden().home == Path(".polyphony")


def test_the_environment_of_the_domain_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYPHONY_GARDEN_BEDS", "3")
    monkeypatch.setenv("POLYPHONY_GARDEN_PORT", "7000")
    monkeypatch.setenv("POLYPHONY_GARDEN_DATABASE_URL", "postgresql+psycopg://x")
    monkeypatch.setenv("POLYPHONY_AUTH_BEDS", "4")
    garden = Garden()
    assert (garden.beds, garden.port, garden.metrics_port) == (3, 7000, 8000)
    assert garden.database_url == "postgresql+psycopg://x"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o700 | 0o010])
def test_a_secret_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "keys" / "garden.kek"
    secret.parent.mkdir()
    secret.write_bytes(bytes(32))
    secret.chmod(mode)
    with pytest.raises(ValidationError, match=r"kek_file[\s\S]*chmod 600"):
        Garden(home=tmp_path)
    with pytest.raises(ValueError, match="chmod 600"):
        read_secret(secret)
    secret.chmod(0o600)
    assert Garden(home=tmp_path).kek_file == secret


def test_a_folder_is_no_secret(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="not a regular file"):
        Garden(kek_file=tmp_path)


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.key is missing"):
        read_secret(tmp_path / "nothing.key")


def test_mutual_tls_is_whole_or_not(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"needs tls_certificate_file, tls_key_file and tls_ca_file"):
        Garden(tls_ca_file=tmp_path / "ca.pem")


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Garden().beds = 4  # type: ignore[misc]


@pytest.mark.parametrize("change", [{"worker": "A B"}, {"trace_ratio": 2}, {"port": 70000}, {"unknown": 1}])
def test_what_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Garden(**change)  # type: ignore[arg-type]
