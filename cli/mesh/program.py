"""What the supervisor needs to know of a program that it runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Probe = Callable[[], str]
"""Asks a running program whether it does its work: "" when it does, else one line saying what is missing."""


class MeshError(Exception):
    """The mesh cannot do what was asked. The text is one line for a person and says what to do about it."""


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port on loopback that a program is going to listen on."""

    number: int
    purpose: str
    """What it is for, as shown to a person whose other program holds it: "Envoy HTTP"."""
    setting: str
    """The environment variable that moves it."""


@dataclass(frozen=True, slots=True)
class Program:
    """One child process: how it starts, how it is known to work, how long its end may take."""

    name: str
    argv: tuple[str, ...]
    probe: Probe
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment that the supervisor inherited."""
    ports: tuple[Port, ...] = ()
    stage: int = 1
    """Programs of a stage start together, once every program of the stages before is ready; they end in reverse."""
    stop_seconds: float = 15.0
    """How long it may take to end after SIGTERM before it is killed."""
    leftovers: tuple[str, ...] = ()
    """Glob patterns of files outside the state folder that a killed program leaves behind."""
