"""The README's snippets do what it says, against the real mesh."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.fixtures.echo import echo_modules

CHECKOUT = Path(__file__).resolve().parents[2]
README = (CHECKOUT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.M | re.S)


def examples() -> Iterator[tuple[str, str]]:
    """Each command of a console block with what it should print."""
    for language, text in BLOCKS:
        if language == "console":
            for example in text.split("$ ")[1:] if text.startswith("$ ") else []:
                command, _, wanted = example.partition("\n")
                yield command, wanted


def environment(mesh: Any) -> dict[str, str]:
    told = {
        f"POLYPHONY_{name.upper()}": str(value)
        for name, value in mesh.settings.model_dump(mode="json").items()
    }
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, **told, "PATH": path, "NO_COLOR": "1", "COLUMNS": "200"}


def shell(mesh: Any, command: str) -> str:
    """Run a command as a reader would, and return all that a terminal would show."""
    here = command.replace("127.0.0.1:8080", f"127.0.0.1:{mesh.settings.http_port}")
    ran = subprocess.run(  # noqa: S602 - a reader pastes it into a shell, too
        here,
        shell=True,
        cwd=CHECKOUT,
        env=environment(mesh),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
    )
    return ran.stdout


def test_there_is_something_to_run() -> None:
    assert len(list(examples())) >= 6


@pytest.mark.parametrize(("command", "wanted"), list(examples()))
def test_what_the_readme_prints_is_printed(mesh: Any, command: str, wanted: str) -> None:
    assert "password-file" in shell(mesh, "polyphony up --plain")
    printed = shell(mesh, command)
    wanted = re.sub(r"\.\.\.\n\Z", "...", wanted)
    assert doctest.OutputChecker().check_output(wanted, printed, doctest.ELLIPSIS), printed


def test_the_make_targets_exist() -> None:
    named = set(re.findall(r"^make (\w+)", README, re.M)) | set(re.findall(r"`make (\w+)`", README))
    listed = subprocess.run(["make", "help"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert named
    assert named <= set(re.findall(r"^(\w+)", listed, re.M))


def test_the_folders_exist() -> None:
    for folder in re.findall(r"`((?:\w+/)+)`", README):
        assert (CHECKOUT / folder).is_dir(), folder


async def test_the_python_snippet_makes_a_server_on_the_road() -> None:
    echo_modules()
    ports = dict.fromkeys(("authenticator", "authorizer", "consents", "audit", "idempotency"), _AnyPort())
    for language, text in BLOCKS:
        if language == "python":
            names: dict[str, Any] = dict(ports)
            exec(text, names)  # noqa: S102 - our own README
            assert isinstance(names["server"], grpc.aio.Server)


class _AnyPort:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: None
