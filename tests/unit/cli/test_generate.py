"""gen/ is what the contracts say, and the command notices when it is not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from cli import generate

ROOT = generate.ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the contracts and of gen/, to be spoiled."""
    for folder in ("proto", "gen"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "buf.yaml", tmp_path / "buf.yaml")
    (tmp_path / "clients").symlink_to(ROOT / "clients")
    return tmp_path


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_committed_code_is_what_the_contracts_generate(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0, capsys.readouterr().out


def test_stale_missing_and_left_over_files_are_named_and_then_repaired(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = checkout / "gen" / "python" / "polyphony"
    with (python / "errors" / "v1" / "reason_pb2.py").open("a") as file:
        file.write("# edited by hand\n")
    (python / "policy" / "v1" / "policy_pb2.pyi").unlink()
    (checkout / "gen" / "sdk" / "old").mkdir()
    (checkout / "gen" / "sdk" / "old" / "thing.py").touch()

    assert generate.main(["--check"], checkout) == 1
    assert capsys.readouterr().out.splitlines() == [
        "gen/python/polyphony/errors/v1/reason_pb2.py: differs",
        "gen/python/polyphony/policy/v1/policy_pb2.pyi: missing",
        "gen/sdk/old/thing.py: left over",
    ]

    assert generate.main([], checkout) == 0
    assert "3 files changed" in capsys.readouterr().out
    assert generate.main(["--check"], checkout) == 0
    assert not (checkout / "gen" / "sdk" / "old").exists()


def test_a_changed_contract_makes_every_kind_of_output_stale(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(
        checkout / "proto/polyphony/policy/v1/policy.proto", "message MethodPolicy {", "message CallPolicy {"
    )
    edit(checkout / "proto/polyphony/policy/v1/policy.proto", "  MethodPolicy method", "  CallPolicy method")

    assert generate.main(["--check"], checkout) == 1
    stale = {line.split("/")[1] for line in capsys.readouterr().out.splitlines()}
    assert stale == {"descriptors", "python", "sdk", "web"}


def test_a_contract_that_does_not_compile_is_explained_and_changes_nothing(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(checkout / "proto/polyphony/errors/v1/reason.proto", "enum Reason {", "enum Reason {{")

    assert generate.main([], checkout) == 1
    assert "polyphony/errors/v1/reason.proto:" in capsys.readouterr().err
    assert (checkout / "gen/python/polyphony/errors/v1/reason_pb2.py").exists()


def test_a_missing_tool_is_named_in_one_line(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "cli.generation.python_code.installed", lambda name: generate.tools.installed(f"{name}-gone")
    )

    assert generate.main([], checkout) == 1
    assert capsys.readouterr().err == (
        "protoc-gen-mypy-gone is not installed; install the development dependencies: make setup\n"
    )


def test_the_descriptors_are_complete_and_carry_the_comments() -> None:
    described = FileDescriptorSet.FromString((ROOT / "gen/descriptors/polyphony.binpb").read_bytes())
    names = [file.name for file in described.file]
    assert "google/rpc/error_details.proto" in names
    for index, file in enumerate(described.file):
        assert set(file.dependency) <= set(names[:index]), file.name
    policy = described.file[names.index("polyphony/policy/v1/policy.proto")]
    assert any(
        "Who may call a method" in place.leading_comments for place in policy.source_code_info.location
    )


def test_the_committed_packages_import_side_by_side() -> None:
    code = """
import polyphony.policy.v1.policy_pb2 as service, buf.validate.validate_pb2
import polyphony_sdk.polyphony.policy.v1 as sdk
sent = sdk.MethodPolicy(permission="spotify.history.read", cost=3)
assert service.MethodPolicy.FromString(bytes(sent)).permission == "spotify.history.read"
"""
    paths = f"{ROOT / 'gen/python'}:{ROOT / 'gen/sdk'}"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": paths})


class TestLint:
    def test_our_contracts_are_clean(self, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert generate.main(["--lint"], checkout) == 0, capsys.readouterr().err
        assert "nothing to compare with" in capsys.readouterr().out

    def test_a_missing_comment_and_bad_format_are_found(
        self, checkout: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = checkout / "proto/polyphony/errors/v1/extra.proto"
        path.write_text('syntax = "proto3";\npackage polyphony.errors.v1;\nmessage Extra {int32 a=1;}\n')

        assert generate.main(["--lint"], checkout) == 1
        said = capsys.readouterr().err
        assert "lint: buf failed" in said
        assert 'Field "a" should have a non-empty comment' in said
        assert "format: buf failed" in said

    def test_a_breaking_change_against_the_main_branch_is_found(
        self, checkout: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        git(checkout, "init", "-q", "-b", "main")
        git(checkout, "add", "gen")
        git(checkout, "commit", "-q", "-m", "baseline")
        git(checkout, "switch", "-q", "-c", "change")
        assert generate.main(["--lint"], checkout) == 0, capsys.readouterr().err
        edit(checkout / "proto/polyphony/auth/v1/token.proto", " access_token = ", " token = ")

        assert generate.main(["--lint"], checkout) == 1
        captured = capsys.readouterr()
        assert "compared with main" in captured.out
        assert "breaking: buf failed" in captured.err
        assert '"access_token"' in captured.err
