"""The main job, played by the command through the edge, and what it must leave behind: nothing in clear."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(os.environ.get("POLYPHONY_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "data"
CANARIES = ("203.0.113.77", "CanaryAgent/9.9", "Canary Song", "Canary Artist")


def demo(mesh: Any, *arguments: str) -> str:
    told = {
        f"POLYPHONY_{name.upper()}": str(value)
        for name, value in mesh.settings.model_dump(mode="json").items()
    }
    played = subprocess.run(
        [sys.executable, "-m", "cli.main", "demo", "--plain", *arguments],
        env={**os.environ, **told, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert played.returncode == 0, played.stdout + played.stderr
    return played.stdout


def test_a_simulated_listener_is_served_from_sign_up_to_withdrawal(mesh: Any) -> None:
    told = demo(mesh, "--plays", "5000")
    assert "5,000 plays of an invented listener are simulated" in told
    assert re.search(r"^SIMULATED-listening-history\.zip\t5000\t5000\t0\t0$", told, re.M), told
    assert "Goes well after\t" in told
    assert "Loved and forgotten\t" in told
    trail = told.partition("# 6 ")[2]
    for method in ("Auth.SignUp", "Auth.LogIn", "Consent.GrantConsent", "Training.StartTraining"):
        assert method in trail, method
    assert "verified: the recommendation" in trail
    ending = told.partition("# 7 ")[2]
    assert "the very next call:     FAILED_PRECONDITION: The consent to" in ending
    assert "the open stream ended:  FAILED_PRECONDITION: The consent to" in ending


@pytest.mark.parametrize("name", ["endsong_0.json", "Streaming_History_Audio_2023.json"])
def test_real_exports_are_read_in_whole(mesh: Any, name: str, tmp_path: Path) -> None:
    """Both forms of the real export, together with enough simulated plays to learn from."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is absent: set POLYPHONY_SHARED to the folder that holds data/")
    plays = len(json.loads(path.read_text()))
    told = demo(mesh, str(path), str(_simulated(tmp_path)))
    assert re.search(rf"^{re.escape(name)}\t{plays}\t{plays}\t0\t0$", told, re.M), told


def test_no_address_agent_or_title_rests_in_clear(mesh: Any, tmp_path: Path) -> None:
    """Addresses and agents nowhere at all; titles only sealed. Looks into every file that the mesh has written."""
    archive = tmp_path / "history.zip"
    with zipfile.ZipFile(_simulated(tmp_path)) as source, zipfile.ZipFile(archive, "w") as target:
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
        play = {
            "ts": "2024-01-01T12:00:00Z",
            "ms_played": 180_000,
            "ip_addr_decrypted": CANARIES[0],
            "user_agent_decrypted": CANARIES[1],
            "master_metadata_track_name": CANARIES[2],
            "master_metadata_album_artist_name": CANARIES[3],
            "spotify_track_uri": "spotify:track:canarycanarycanarycana",
        }
        target.writestr("Streaming_History_Audio_2024_99.json", json.dumps([play] * 1))
    demo(mesh, str(archive))
    searched = 0
    for path in mesh.settings.home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            searched += 1
            for canary in CANARIES:
                assert canary.encode() not in content, f"{canary} lies in {path}"
    assert searched > 20


def _simulated(folder: Path) -> Path:
    from cli.simulation import write_archive

    return write_archive(folder / "simulated.zip", plays=3_000)
