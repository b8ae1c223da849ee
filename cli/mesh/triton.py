"""How Triton is started: the real tritonserver, from its own environment, closed to everyone but the ai service.

The server, its Python backend and that backend's process stub come out of the nvidia-pytriton package; its Python
API is not used. `triton/README.md` explains the model repository and why `triton/backends/onnxruntime` exists.
"""

import hashlib
import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cli.mesh.probes import http_ok
from cli.mesh.program import MeshError, Port, Program

CHECKOUT = Path(__file__).resolve().parents[2]
KEY_NAME = "polyphony-key"
KEY_HEADER = f"triton-grpc-protocol-{KEY_NAME}"
"""The metadata key under which a caller of Triton sends the content of the key file."""

# What the ai service needs; health stays open because it says nothing about anyone.
_SERVED = "inference,metadata,model-config,model-repository,statistics"
# Each lets a caller read or write memory or files of this machine. 2.51 cannot switch them off: they are locked
# with a key that nobody is told.
_LOCKED = "shared-memory,trace,logging"


@dataclass(frozen=True, slots=True)
class TritonPaths:
    """Where a Triton of one mesh finds and keeps its things."""

    environment: Path
    """The virtual environment made from `lock/triton.txt`."""
    state: Path
    """The folder that holds `models/` (the repository) and `backends/`."""
    key_file: Path
    """Holds the value callers send under `KEY_HEADER`; readable by its owner only."""

    @property
    def models(self) -> Path:
        """The model repository: `<model>/config.pbtxt` and `<model>/<version>/model.onnx`."""
        return self.state / "models"

    @property
    def packages(self) -> Path:
        """The environment's site-packages. Raises `MeshError` when Triton is not installed there."""
        for packages in self.environment.glob("lib/python3.*/site-packages"):
            if (packages / "pytriton/tritonserver/bin/tritonserver").is_file():
                return packages
        raise MeshError(f"Triton is not installed in {self.environment}; run: make setup")


def prepare(paths: TritonPaths) -> None:
    """Lay out the repository and the backends folder. Harmless when done before."""
    python = paths.packages.parent.name.removeprefix("python")
    server = paths.packages / "pytriton" / "tritonserver"
    stub = server / "python_backend_stubs" / python / "triton_python_backend_stub"
    if not stub.is_file():
        raise MeshError(
            f"this Triton has no Python backend for Python {python}; make .venv-triton with 3.11 or 3.12"
        )
    paths.models.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Copies, because Triton refuses a backend library whose real path lies outside the backends folder.
    for source in [*(server / "backends" / "python").glob("*.*"), stub]:
        _copy(source, paths.state / "backends" / "python" / source.name)
    for source in (CHECKOUT / "triton" / "backends" / "onnxruntime").glob("*.py"):
        _copy(source, paths.state / "backends" / "onnxruntime" / source.name)


def program(paths: TritonPaths, port: int, metrics_port: int) -> Program:
    """Triton on loopback with explicit model control: gRPC on `port`, Prometheus on `metrics_port`, no HTTP.

    Raises `MeshError` when Triton is not installed, `FileNotFoundError` when there is no key file yet.
    """
    key = paths.key_file.read_text().strip()
    region = shm_prefix(paths.state)
    server = paths.packages / "pytriton" / "tritonserver" / "bin" / "tritonserver"
    return Program(
        name="triton",
        argv=(
            str(server),
            f"--model-repository={paths.models}",
            f"--backend-directory={paths.state / 'backends'}",
            "--model-control-mode=explicit",
            "--disable-auto-complete-config",
            # The server is ready although one person's model is broken; that model's own readiness says so.
            "--strict-readiness=false",
            "--allow-http=false",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={port}",
            "--reuse-grpc-port=false",
            f"--grpc-restricted-protocol={_SERVED}:{KEY_NAME}={key}",
            f"--grpc-restricted-protocol={_LOCKED}:{KEY_NAME}={secrets.token_hex(32)}",
            "--metrics-address=127.0.0.1",
            f"--metrics-port={metrics_port}",
            "--allow-gpu-metrics=false",
            "--pinned-memory-pool-byte-size=0",
            "--exit-timeout-secs=5",
            "--log-format=ISO8601",
            # How the server talks to the processes of its own Python backend; not open to clients.
            f"--backend-config=python,shm-region-prefix-name={region}",
            "--backend-config=python,shm-default-byte-size=1048576",
            "--backend-config=python,shm-growth-byte-size=1048576",
        ),
        environment={
            "LD_LIBRARY_PATH": library_path(paths),
            "PATH": f"{paths.environment / 'bin'}:{os.environ.get('PATH', os.defpath)}",
            "VIRTUAL_ENV": str(paths.environment),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        ports=(
            Port(port, "Triton gRPC", "POLYPHONY_TRITON_PORT"),
            Port(metrics_port, "Triton metrics", "POLYPHONY_TRITON_METRICS_PORT"),
        ),
        probe=http_ok(metrics_port, "/metrics"),
        leftovers=(f"/dev/shm/{region}*",),  # noqa: S108 - the POSIX shared memory that Triton itself names
    )


def library_path(paths: TritonPaths) -> str:
    """The LD_LIBRARY_PATH under which the server and its backend find what they are linked to."""
    return ":".join(map(str, [paths.packages / "nvidia_pytriton.libs", *_libpython(paths.environment)]))


def shm_prefix(state: Path) -> str:
    """The name prefix of this Triton's shared memory, so that what a killed server leaves can be told apart."""
    return "polyphony" + hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:12]


def _copy(source: Path, target: Path) -> None:
    if target.exists() and target.read_bytes() == source.read_bytes():
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _libpython(environment: Path) -> list[Path]:
    """Where the environment's Python keeps its shared library, which the backend's stub is linked to."""
    question = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    answer = subprocess.run([environment / "bin" / "python", "-c", question], capture_output=True, text=True)
    folder = Path(answer.stdout.strip() or "/nonexistent")
    return [folder] if any(folder.glob("libpython3*.so*")) else []
