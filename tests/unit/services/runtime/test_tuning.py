"""Tuning happens before grpc or not at all."""

from __future__ import annotations

import subprocess
import sys

import grpc
import pytest

from services.runtime.tuning import EXPERIMENTS, tune


def python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_after_grpc_it_is_too_late() -> None:
    assert grpc
    with pytest.raises(RuntimeError, match="before the first import of grpc"):
        tune()


def test_experiments_are_switched_off_and_threads_inherit_the_scheduler() -> None:
    said = python(
        "import os, threading\n"
        "from services.runtime.tuning import tune\n"
        "made = tune()\n"
        "seen = []\n"
        "t = threading.Thread(target=lambda: seen.append(os.sched_getscheduler(0))); t.start(); t.join()\n"
        "print(seen == [os.SCHED_BATCH], made.scheduler, sorted(made.switched_off + made.unknown),"
        " os.environ['GRPC_EXPERIMENTS'])"
    )
    switched_off = ",".join(f"-{name}" for name in EXPERIMENTS)
    assert said == f"True batch {sorted(EXPERIMENTS)} {switched_off}"


def test_an_operators_choice_stands() -> None:
    said = python(
        "import os\nfrom services.runtime.tuning import tune\ntune()\nprint(os.environ['GRPC_EXPERIMENTS'])",
        GRPC_EXPERIMENTS="event_engine_fork",
    )
    assert said == "event_engine_fork"


def test_the_composition_root_loads_grpc_only_after_tuning() -> None:
    assert python("import sys, services.__main__\nprint('grpc' in sys.modules)") == "False"
