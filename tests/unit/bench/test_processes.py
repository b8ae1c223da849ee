"""Memory and core time of a process, as the kernel counts them."""

import os
import subprocess
import sys
import time

from bench.processes import PeakMemory, WorkMeter, core_seconds, memory_of


def test_the_peak_counts_what_came_and_went() -> None:
    memory = PeakMemory()
    block = b"x" * 30_000_000
    del block
    assert 25_000_000 < memory.growth < 60_000_000
    assert PeakMemory().growth < 10_000_000, "a new watch begins anew"


def test_work_is_counted_and_waiting_is_not() -> None:
    before = core_seconds(os.getpid())
    time.sleep(0.3)
    idle = core_seconds(os.getpid()) - before
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    assert idle < 0.1
    assert core_seconds(os.getpid()) - before > 0.15


def test_what_a_process_always_spends_is_not_work() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        meter = WorkMeter(busy.pid, idle_seconds=0.5)
        time.sleep(0.5)
        assert meter.spent() < 0.25, "it spends as much as when it was called idle"
    finally:
        busy.kill()
        busy.wait()
    meter = WorkMeter(os.getpid(), idle_seconds=0.1)
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    assert meter.spent() > 0.12


def test_what_is_shared_is_counted_in_parts() -> None:
    memory = memory_of(os.getpid())
    assert 1_000_000 < memory.proportional <= memory.resident
