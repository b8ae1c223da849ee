"""What is answered when the inference server does not hold a version."""

from typing import Any

import pytest

from interceptors.faults import Fault
from services.ai.model import Artefact
from services.ai.ports import NotLoaded
from services.ai.serving import Serving


class Forgetful:
    """An inference server that has lost every version by the time it is asked."""

    def __init__(self) -> None:
        self.loads = 0

    async def load(self, version: Any, onnx: bytes) -> None:
        self.loads += 1

    async def infer(self, version: str, inputs: Any, outputs: Any, seconds: float) -> Any:
        raise NotLoaded(version)


class Stored:
    """A storage that has one artefact."""

    async def read(self, work: Any, *, tenant: str) -> Artefact:
        return Artefact(b"onnx", b"journal")


class AnyVersion:
    """A version that may be used."""

    id, tenant = "v", "acme"

    def require_usable(self) -> None:
        """It is."""


async def test_a_version_that_another_worker_unloads_again_and_again_is_unavailable() -> None:
    server: Any = Forgetful()
    storage: Any = Stored()
    version: Any = AnyVersion()
    serving = Serving(storage, server, held=2, idle_seconds=60.0)
    with pytest.raises(Fault) as refused:
        await serving.infer(version, [], [], 5.0)
    assert (refused.value.name, server.loads) == ("MODEL_UNAVAILABLE", 1)
