"""One mesh for the whole suite; it is only started when a test calls it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.contract.mesh import Mesh, running_mesh


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """All domains in one process, with Alice (every consent), Bob (none) and Carol (withdrawn)."""
    async with running_mesh(tmp_path_factory.mktemp("mesh")) as mesh:
        yield mesh
        await mesh.journal.hold_to_one_each()
