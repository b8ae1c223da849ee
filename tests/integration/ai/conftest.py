"""The ai domain over each real database and the real Triton, with plays and consents in the test's hand."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import create_engine, text

import services.ai
from cli.simulation import simulate
from interceptors.call import Call, enter_call
from interceptors.faults import Fault
from interceptors.identity import Identity
from interceptors.ids import new_id
from services.ai.adapters.model_repository import ModelRepository
from services.ai.adapters.triton import Triton
from services.ai.assembly import Assembly, assemble
from services.ai.model import Training
from services.ai.ports import Stores
from services.ai.settings import Settings
from services.ai.training import Play, Track
from services.ai.usecases.run_training import RunTraining
from services.runtime.keyring import Keyring
from services.runtime.persistence import Database
from tests.fixtures.postgres import postgres_url  # noqa: F401 - a fixture

MIGRATIONS = Path(services.ai.__file__).parent / "migrations"
TENANT = "acme"


def simulated_plays(plays: int = 3_000, seed: int = 7) -> list[Play]:
    return [
        Play(Track(p.track.uri, p.track.name, p.track.artist, p.track.album), p.ended, p.ms_played, p.skipped)
        for p in simulate(seed=seed, plays=plays, years=2)
        if p.track.show is None
    ]


@dataclass
class Plays:
    """A play source whose history, faults and pauses the test decides."""

    history: Sequence[Play] = field(default_factory=simulated_plays)
    faults: list[Fault] = field(default_factory=list)
    between: Callable[[int], Any] | None = None

    async def pages(self, tenant: str, user: str) -> AsyncIterator[Sequence[Play]]:
        """Pages of 1,000."""
        if self.faults:
            raise self.faults.pop(0)
        for start in range(0, len(self.history), 1_000):
            if self.between is not None:
                await self.between(start)
            yield self.history[start : start + 1_000]


@dataclass
class Consents:
    """Consents that the test withdraws."""

    fault: Fault | None = None

    def require(self, tenant: str, user: str) -> str:
        """Granted unless there is a fault."""
        if self.fault is not None:
            raise self.fault
        return "consent-1"


@dataclass
class Domain:
    """A running domain and what the test decides about its surroundings."""

    ai: Assembly
    run: RunTraining
    database: Database
    plays: Plays
    consents: Consents
    triton: Triton

    @staticmethod
    def as_user(user: str, tenant: str = TENANT) -> None:
        """Let the running task answer a call of this user, as the road would."""
        method: Any = SimpleNamespace(path="/test")
        enter_call(Call(method, {}, "test", new_id(), 0, identity=Identity(2, tenant, user)))

    async def start(self, user: str, half_life_days: int = 0) -> Training:
        """Ask for a training outside of any call."""
        identifier = new_id()

        def queued(stores: Stores) -> Training:
            return Training(identifier, TENANT, user, half_life_days, "consent-1", stores.now, stores.now)

        self.as_user(user)
        return await self.ai.start(queued, answer=lambda training: training)

    async def train(self, user: str) -> Training:
        """Ask for a training and run it to its end."""
        training = await self.start(user)
        assert await self.run.once()
        return await self.get(training)

    async def get(self, training: Training) -> Training:
        """How a training stands."""
        self.as_user(training.user)
        return await self.ai.get(user=training.user, training=training.id)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'ai.db'}"
    url: str = request.getfixturevalue("postgres_url")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA IF EXISTS ai CASCADE"))
    engine.dispose()
    return url


Worker = Callable[[str], AbstractAsyncContextManager[Domain]]


@pytest.fixture
def worker(tmp_path: Path, database_url: str, triton_server: Any) -> Worker:
    """Starts a worker of the domain; several of them share database and Triton."""
    (tmp_path / "keys").mkdir(mode=0o700)
    Keyring.create_file(tmp_path / "keys" / "ai.kek")

    @contextlib.asynccontextmanager
    async def start(name: str) -> AsyncIterator[Domain]:
        settings = Settings(
            home=tmp_path,
            port=0,
            worker=name,
            database_url=database_url,
            triton_endpoint=triton_server.endpoint,
            triton_key_file=triton_server.key_file,
            triton_models=triton_server.models,
            loaded_models=2,
            training_lease_seconds=0.6,
            training_poll_seconds=0.05,
            watch_poll_seconds=0.1,
            alias_fresh_seconds=0.2,
        )
        keyring = Keyring.from_file(settings.kek_file)
        database = Database(settings.database_url, domain="ai", migrations=MIGRATIONS, keyring=keyring)
        await database.start()
        triton = Triton(
            settings.triton_endpoint,
            settings.triton_key_file,
            ModelRepository(settings.triton_models, instances=settings.model_instances),
        )
        plays, consents = Plays(), Consents()
        try:
            ai = assemble(settings, database, triton)
            yield Domain(ai, ai.trainer(plays, consents), database, plays, consents, triton)
        finally:
            await triton.unload(triton.present())
            await triton.close()
            await database.close()

    return start


@pytest.fixture
async def domain(worker: Worker) -> AsyncIterator[Domain]:
    """One worker of the domain."""
    async with worker("one") as started:
        yield started
