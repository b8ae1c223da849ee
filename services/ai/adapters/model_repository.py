"""The folder that Triton reads models from: one entry per version, placed whole or not at all.

An entry is `<name>/config.pbtxt` and `<name>/1/model.onnx`: data, no code. It exists only while its version is in
use; what lasts is the sealed artefact in the database.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from services.ai.model import Version
from services.ai.training import Tensor

PREFIX = "listening-"
"""Entries with another name are not this service's and are left alone."""


class DigestMismatch(Exception):
    """The bytes are not those that were registered."""


class ModelRepository:
    """Entries for versions, by the version's id."""

    def __init__(self, folder: Path, *, instances: int) -> None:
        """`instances` is how many requests for one model Triton answers at once."""
        self._folder = folder
        self._instances = instances

    def name(self, version_id: str) -> str:
        """What Triton calls the version."""
        return PREFIX + version_id

    def place(self, version: Version, onnx: bytes) -> None:
        """Write the entry of a version and make it appear at once; one that is there already is replaced.

        Raises DigestMismatch when the bytes are not the registered ones, OSError when they cannot be written.
        """
        if hashlib.sha256(onnx).hexdigest() != version.digest:
            raise DigestMismatch(str(version.name))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = self.name(version.id)
        draft = self._folder / f".{name}.{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        (draft / "1").mkdir(mode=0o700, parents=True)
        _write(draft / "1" / "model.onnx", onnx)
        _write(draft / "config.pbtxt", self._config(name, version).encode())
        target = self._folder / name
        try:
            draft.rename(target)
        except OSError:
            # An entry stands there, perhaps of an interrupted attempt with other bytes.
            shutil.rmtree(target, ignore_errors=True)
            draft.rename(target)

    def empty(self, version_id: str) -> None:
        """Remove what the entry of a version holds, but not the entry: it stands for a version still to be unloaded."""
        shutil.rmtree(self._folder / self.name(version_id) / "1", ignore_errors=True)

    def remove(self, version_id: str) -> None:
        """Remove the entry of a version, if there is one."""
        shutil.rmtree(self._folder / self.name(version_id), ignore_errors=True)

    def present(self) -> Sequence[str]:
        """The ids of the versions that have an entry, and of drafts that a killed process left (which go now)."""
        if not self._folder.is_dir():
            return []
        for draft in self._folder.glob(f".{PREFIX}*"):
            if not _alive(draft.suffix.removeprefix(".")):
                shutil.rmtree(draft, ignore_errors=True)
        return sorted(entry.name.removeprefix(PREFIX) for entry in self._folder.glob(f"{PREFIX}*"))

    def _config(self, name: str, version: Version) -> str:
        return "".join(
            [
                f'name: "{name}"\nbackend: "onnxruntime"\nmax_batch_size: 0\n',
                *(_tensor("input", tensor) for tensor in version.inputs),
                *(_tensor("output", tensor) for tensor in version.outputs),
                f"instance_group [{{ kind: KIND_CPU count: {self._instances} }}]\n",
                "version_policy: { specific: { versions: [ 1 ] } }\n",
            ]
        )


def _tensor(kind: str, tensor: Tensor) -> str:
    dims = ", ".join(str(size) for size in tensor.shape)
    return f'{kind} [{{ name: "{tensor.name}" data_type: TYPE_{tensor.datatype} dims: [ {dims} ] }}]\n'


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _alive(process: str) -> bool:
    return process.isdecimal() and Path(f"/proc/{process}").exists()
