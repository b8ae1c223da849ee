"""How a process is told to spend less of a core on waking threads. Must run before grpc is imported.

More than half of a small grpc.aio call is kernel time for switching threads. SCHED_BATCH lets the thread that has work
finish it; gRPC's event engine adds switches of its own and can be switched off by name while grpcio has the names. Both
are only faster or slower, never more or less correct. The names are looked up in the installed library, because an
unknown one would be ignored with a complaint, and what was found is reported in the start line of the log.
"""

from __future__ import annotations

import importlib.util
import mmap
import os
import sys
from dataclasses import dataclass
from pathlib import Path

EXPERIMENTS = ("event_engine_listener", "event_engine_client", "event_engine_callback_cq")


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was done: the event-engine experiments switched off, those that this grpcio does not know, the scheduler."""

    switched_off: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    scheduler: str = "other"


def tune() -> Tuning:
    """Switch the slower experiments off and run this thread, and all that it starts, under SCHED_BATCH.

    Respects an existing GRPC_EXPERIMENTS. Raises `RuntimeError` when grpc is already imported, because it would have
    no effect then.
    """
    if "grpc" in sys.modules:
        raise RuntimeError("tuning must come before the first import of grpc")
    known = tuple(name for name in EXPERIMENTS if name in _known_experiments())
    if known:
        os.environ.setdefault("GRPC_EXPERIMENTS", ",".join(f"-{name}" for name in known))
    return Tuning(known, tuple(name for name in EXPERIMENTS if name not in known), _schedule_in_batches())


def _known_experiments() -> set[str]:
    spec = importlib.util.find_spec("grpc")
    if spec is None or not spec.submodule_search_locations:
        return set()
    found: set[str] = set()
    for library in Path(spec.submodule_search_locations[0]).glob("_cython/cygrpc*.so"):
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found |= {name for name in EXPERIMENTS if content.find(b"\0" + name.encode() + b"\0") >= 0}
    return found


def _schedule_in_batches() -> str:
    if not hasattr(os, "SCHED_BATCH"):
        return "other"  # not Linux
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:
        return "other"  # a sandbox forbids it
    return "batch" if os.sched_getscheduler(0) == os.SCHED_BATCH else "other"
