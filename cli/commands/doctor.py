"""`polyphony doctor`."""

import importlib.metadata
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import typer

from cli.console import Plain, table
from cli.edge.contract import DESCRIPTORS
from cli.mesh import triton
from cli.mesh.control import holder, running
from cli.mesh.identity import too_open
from cli.mesh.program import MeshError
from cli.mesh.settings import MeshSettings
from cli.mesh.tools import find

FREE_BYTES = 2 * 1024**3
"""What the mesh should find free on its disk; a full one refuses every change."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    good: bool
    words: str
    """What was found, and what to do when it is not good."""


def doctor(plain: Plain = False) -> None:
    """Look at everything the mesh needs of this machine, and say what to do about what is wrong."""
    settings = MeshSettings()
    findings = [
        Finding(
            "python",
            sys.version_info[:2] in ((3, 11), (3, 12)),
            f"{platform.python_version()} (3.11 or 3.12)",
        ),
        *_tools(),
        _triton(settings),
        _contracts(),
        *_versions(),
        *_ports(settings),
        _permissions(settings),
        _disk(settings),
    ]
    table(
        ("what", "", "found"),
        [(finding.name, "ok" if finding.good else "WRONG", finding.words) for finding in findings],
        plain=plain,
        styles=["" if finding.good else "bold red" for finding in findings],
    )
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


def _tools() -> Iterator[Finding]:
    for names in (("envoy",), ("redis-server", "valkey-server")):
        yield _asked(names[0], lambda names=names: _version(find(*names)))  # type: ignore[misc]


def _version(path: str) -> str:
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20)
    words = answer.stdout.strip().splitlines()
    return f"{path}: {words[-1].strip()}" if words else path


def _triton(settings: MeshSettings) -> Finding:
    paths = triton.TritonPaths(
        settings.triton_environment, settings.home / "triton", settings.keys / "triton.key"
    )

    def ask() -> str:
        server = paths.packages / "pytriton" / "tritonserver" / "bin" / "tritonserver"
        stub = paths.packages / "pytriton" / "tritonserver" / "python_backend_stubs"
        libraries = triton.library_path(paths)
        for binary in (server, *stub.glob(f"{paths.packages.parent.name.removeprefix('python')}/*_stub")):
            linked = subprocess.run(
                ["ldd", str(binary)], capture_output=True, text=True, env={"LD_LIBRARY_PATH": libraries}
            )
            missing = [line.split()[0] for line in linked.stdout.splitlines() if "not found" in line]
            if missing:
                raise MeshError(f"{binary.name} misses {', '.join(missing)}; install it")
        return str(server)

    return _asked("triton", ask)


def _contracts() -> Finding:
    good = DESCRIPTORS.exists()
    return Finding("contracts", good, str(DESCRIPTORS) if good else "not generated; run: make gen")


def _versions() -> Iterator[Finding]:
    """The set that has to fit together; the lock keeps it, other installers may not."""
    for name, wanted in (
        ("protobuf", "6."),
        ("grpcio", "1.85."),
        ("tritonclient", "2.73."),
        ("sqlalchemy", "2."),
    ):
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        good = found.startswith(wanted)
        yield Finding(name, good, found if good else f"{found}, but the lock says {wanted}x; run: make setup")


def _ports(settings: MeshSettings) -> Iterator[Finding]:
    state = running(settings.home)
    if state is not None:
        yield Finding("ports", True, f"in use by this mesh, which is {state.phase}")
        return
    domains = [port for ports in settings.worker_ports({}).values() for port in ports]
    wanted = [
        *(settings.http_port, settings.https_port, settings.admin_port),
        *(settings.redis_port, settings.triton_port, settings.triton_metrics_port),
        *domains,
    ]
    taken = [f"{port} by {by}" for port in wanted if (by := holder(port))]
    yield Finding("ports", not taken, f"taken: {', '.join(taken)}" if taken else f"{len(wanted)} are free")


def _permissions(settings: MeshSettings) -> Finding:
    """The state folder keeps everything in it from others; each key is closed for itself as well."""
    home = [settings.home] if settings.home in too_open(settings.home) else []
    opened = ", ".join(str(path) for path in [*home, *too_open(settings.keys)])
    if opened:
        return Finding("permissions", False, f"open to others: {opened}; run: chmod -R go= {settings.home}")
    return Finding("permissions", True, "closed to others")


def _disk(settings: MeshSettings) -> Finding:
    place = settings.home if settings.home.exists() else settings.home.parent
    free = shutil.disk_usage(place).free
    return Finding(
        "disk", free >= FREE_BYTES, f"{free / 1024**3:.1f} GiB free ({FREE_BYTES / 1024**3:.0f} are needed)"
    )


def _asked(name: str, ask: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, ask())
    except (MeshError, OSError, subprocess.SubprocessError) as error:
        return Finding(name, False, str(error))
