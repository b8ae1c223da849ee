"""What the supervisor says about the mesh, in one file that the other commands read."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

Phase = Literal["starting", "ready", "degraded", "stopping", "failed"]
Condition = Literal["waiting", "starting", "ready", "not serving", "restarting", "stopped"]


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that is not mistaken for a later one with the same id."""

    pid: int
    created: float
    """Seconds since the epoch, as the kernel knows it."""

    @classmethod
    def of(cls, pid: int) -> "Identity":
        """Raises `psutil.NoSuchProcess` when it has ended."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process, or None when it has ended."""
        try:
            process = psutil.Process(self.pid)
            alive = process.create_time() == self.created and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if alive else None


@dataclass(slots=True)
class ProgramState:
    """What is known of one program."""

    name: str
    condition: Condition = "waiting"
    reason: str = ""
    """Why it is not ready, or how it last ended, in one line."""
    process: Identity | None = None
    restarts: int = 0
    leftovers: tuple[str, ...] = ()


@dataclass(slots=True)
class MeshState:
    """What is known of the mesh."""

    supervisor: Identity
    started: float
    """Seconds since the epoch."""
    settings: dict[str, Any]
    workers: dict[str, int]
    phase: Phase = "starting"
    message: str = ""
    """Why it failed, in one line."""
    programs: list[ProgramState] = field(default_factory=list)


def state_file(home: Path) -> Path:
    """Where the state of the mesh with this state folder is."""
    return home / "run" / "mesh.json"


def write_state(home: Path, state: MeshState) -> None:
    """Replace the state; a reader sees the old or the new one, never a part."""
    path = state_file(home)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(asdict(state), indent=1, default=str))
    draft.chmod(0o600)
    draft.replace(path)


def read_state(home: Path) -> MeshState | None:
    """The last state that was written, whether or not its supervisor still lives; None when there is none."""
    try:
        raw = json.loads(state_file(home).read_text())
    except FileNotFoundError:
        return None
    programs = [
        ProgramState(
            **{**program, "process": _identity(program["process"]), "leftovers": tuple(program["leftovers"])}
        )
        for program in raw.pop("programs")
    ]
    return MeshState(**{**raw, "supervisor": Identity(**raw["supervisor"]), "programs": programs})


def _identity(raw: dict[str, Any] | None) -> Identity | None:
    return Identity(**raw) if raw else None
