"""Importing a listening history against sqlite3's bare executemany of the same rows, and the memory that it takes.

The import reads a ZIP of JSON, checks and deduplicates, seals names under the person's key and keeps a checkpoint per
transaction; the bare insert is handed the finished rows, in the same transactions.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import grpc
import msgspec

from bench import bare_history
from bench.history_process import Found, Imported
from bench.live_mesh import LiveMesh, live_mesh
from bench.processes import PeakMemory, core_seconds
from bench.report import Report, median
from bench.rounds import rounds
from cli.demo.account import Listener
from cli.demo.upload import upload
from cli.simulation import write_archive
from polyphony.policy.v1 import policy_pb2
from polyphony.spotify.v1.import_pb2 import ImportState
from services.spotify.usecases.import_history import BATCH_ELEMENTS

SIZES = (20_000, 100_000)
ROUNDS = 3
GOAL = 0.4
FLAT = 1.25
"""A history five times as long may take this much as much memory, and it is still called flat."""

BARE, READING, ALONE = "bare executemany", "reading, nothing stored", "import, in process"
ROAD, EDGE = "ImportHistory, whole road", "ImportHistory, through Envoy"

Results = dict[str, dict[int, list[Imported]]]
"""By way and by number of plays."""


def run() -> None:
    """Measure and publish."""
    results: Results = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder, live_mesh() as mesh:
        files = {plays: write_archive(Path(folder, f"{plays}.zip"), plays=plays) for plays in SIZES}
        ways: dict[str, Callable[[Path], Imported]] = {
            ROAD: partial(through, mesh, mesh.service("spotify")),
            EDGE: partial(through, mesh, mesh.edge),
        }
        for _ in rounds(ROUNDS):
            for plays, file in files.items():
                found, bare = alone_and_bare(file)
                results[ALONE][plays].append(found.importing)
                results[READING][plays].append(found.reading)
                results[BARE][plays].append(bare)
                for name, way in ways.items():
                    results[name][plays].append(way(file))
    report(results).publish()


def report(results: Results) -> Report:
    """The report of the rounds."""
    done = len(results[BARE][SIZES[1]])
    small, large = SIZES
    table = Report(
        "history",
        "Importing a history against a bare executemany of its rows",
        f"{large:,} simulated plays in a ZIP of JSON into SQLite (WAL, synchronous=FULL), transactions of"
        f" {BATCH_ELEMENTS:,} plays; medians of {done} interleaved rounds. Memory: by how much the"
        " process that imports was larger at its peak than before.",
        ["way", "plays/s", "of bare", "core µs/play", f"peak at {small:,}", f"peak at {large:,}"],
    )

    def rate(way: str) -> float:
        return median([found.plays / found.seconds for found in results[way][large]])

    def cost(way: str) -> float:
        return median([found.core_seconds / found.plays * 1e6 for found in results[way][large]])

    def peak(way: str, plays: int) -> float:
        return median([found.peak_growth / 2**20 for found in results[way][plays]])

    for way in (BARE, READING, ALONE, ROAD, EDGE):
        peaks = ["", ""] if way in (BARE, READING) else [f"{peak(way, plays):.1f} MiB" for plays in SIZES]
        table.add(way, f"{rate(way):,.0f}", f"{rate(way) / rate(BARE):.2f}", f"{cost(way):.1f}", *peaks)
    reached, grown = rate(ALONE) / rate(BARE), peak(ALONE, large) / peak(ALONE, small)
    least = cost(READING) + cost(BARE)
    table.notes += [
        f"Goal: {GOAL} of bare; in process {'met' if reached >= GOAL else 'missed'}.",
        f"One interpreter both reads and stores: the two least costs add up to {least:.1f} µs of a core, which alone"
        f" would be {cost(BARE) / least:.2f} of bare.",
        f"Five times the plays took {grown:.2f} times the memory: {'flat' if grown <= FLAT else 'not flat'}.",
        "The service keeps what earlier imports took, so its growth is that of one more.",
    ]
    return table


def alone_and_bare(file: Path) -> tuple[Found, Imported]:
    """The import in a process of its own, then its rows by the bare driver."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        command = [sys.executable, "-m", "bench.history_process", str(file), first]
        told = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        found = msgspec.json.decode(told, type=Found)
        return found, bare_history.store(bare_history.rows_of(Path(first, "second")), Path(second))


PURPOSES: Sequence[int] = (policy_pb2.PURPOSE_IMPORT_HISTORY,)


def through(mesh: LiveMesh, target: str, file: Path) -> Imported:
    """The import by a new person through a running mesh, on a channel to `target`."""
    with mesh.listener(PURPOSES) as person, grpc.insecure_channel(target) as channel:
        uploader = Listener(channel, person.email, "")
        uploader.metadata = person.metadata
        service = mesh.pids()["spotify"]
        memory, began, spent = PeakMemory(service), time.perf_counter(), core_seconds(service)
        done = upload(uploader, file, lambda _: None)
        seconds, spent = time.perf_counter() - began, core_seconds(service) - spent
    if done.state != ImportState.IMPORT_STATE_SUCCEEDED or done.plays_rejected:
        raise RuntimeError(f"the import ended as {done}")
    return Imported(done.plays_imported, seconds, spent, memory.growth)
