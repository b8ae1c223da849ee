"""The worker of trainings: takes one, reads the plays, learns, loads the model and makes it the champion.

Every step first proves, in the database, that the training is still this worker's: the lease is its own and nobody
cancelled it. So a worker that was thought dead, or that did not hear of a cancellation, changes nothing. Until the
last transaction, which registers the version, moves the alias and ends the training at once, an attempt leaves
nothing behind but files in the model repository, which the next attempt overwrites and `tidy` removes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import replace
from datetime import timedelta

from interceptors.faults import Fault, fault_of
from polyphony.errors.v1 import reason_pb2
from services.ai.changes import Changes
from services.ai.model import (
    CHAMPION,
    Artefact,
    Stage,
    State,
    Training,
    Version,
    VersionName,
    version_of,
)
from services.ai.ports import EVERYWHERE, Consents, PlaySource, Storage, Stores
from services.ai.serving import Serving
from services.ai.training import (
    LEAST_PLAYS,
    Journal,
    Play,
    Recipe,
    Trained,
    journal_of,
    pack,
    train,
)
from services.ai.usecases.trainings import WORK

MOST_ATTEMPTS = 5
"""Attempts after which a training that keeps failing for passing reasons has failed."""
WARM_UP_SECONDS = 10.0
MOST_PLAYS = 2_000_000
"""Plays of one person at most: some twenty years of listening day and night. Bounds the memory of a training."""
_TRANSIENT = frozenset(
    {
        reason_pb2.REASON_DEPENDENCY_UNAVAILABLE,
        reason_pb2.REASON_MODEL_UNAVAILABLE,
        reason_pb2.REASON_STORAGE_UNAVAILABLE,
        reason_pb2.REASON_CONSENT_STALE,
        reason_pb2.REASON_POLICY_STALE,
        reason_pb2.REASON_OVERLOADED,
        reason_pb2.REASON_RATE_LIMITED,
        reason_pb2.REASON_SHUTTING_DOWN,
        reason_pb2.REASON_DEADLINE_EXCEEDED,
    }
)
_log = logging.getLogger(__name__)


class _NotOurs(Exception):
    """The training was cancelled, or another worker has taken it over."""


class RunTraining:
    """Runs trainings, one at a time."""

    def __init__(
        self,
        storage: Storage,
        plays: PlaySource,
        consents: Consents,
        serving: Serving,
        changes: Changes,
        *,
        worker: str,
        lease_seconds: float,
        poll_seconds: float,
    ) -> None:
        """`worker` names this process among all of the domain's. An attempt of a process that died is taken over
        `lease_seconds` after its last step."""
        self._storage = storage
        self._plays = plays
        self._consents = consents
        self._serving = serving
        self._changes = changes
        self._worker = worker
        self._lease = timedelta(seconds=lease_seconds)
        self._poll = poll_seconds

    async def forever(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                busy = await self.once()
            except Fault as fault:
                _log.warning("looking for trainings failed: %s", fault)
                busy = False
            if not busy:
                await self._changes.wait(*WORK, self._poll)

    async def once(self) -> bool:
        """Run the next training, if there is one; says whether there was."""
        training = await self._storage.write(self._take, tenant=EVERYWHERE)
        if training is None:
            return False
        keeper = asyncio.create_task(self._keep(training), name=f"lease of training {training.id}")
        try:
            await self._run(training)
        except _NotOurs:
            _log.info("training %s was cancelled or taken over", training.id)
        except asyncio.CancelledError:
            # The process stops: give the training back, so that another worker need not wait for the lease to end.
            await asyncio.shield(self._put_back(training))
            raise
        except Exception as error:
            await self._failed(training, error)
        finally:
            keeper.cancel()
        return True

    def _take(self, stores: Stores) -> Training | None:
        while (free := stores.trainings.next_free(stores.now)) is not None:
            if free.attempts < MOST_ATTEMPTS:
                taken = free.taken(self._worker, stores.now, self._lease)
                stores.trainings.put(taken)
                return taken
            # Each of its workers died without a word, perhaps of this training: no further one is risked.
            failure = {"reason": "INTERNAL", "message": "Every attempt ended with the end of its worker."}
            stores.trainings.put(free.ended(State.FAILED, stores.now, **failure))
        return None

    async def _run(self, training: Training) -> None:
        consent = self._consents.require(training.tenant, training.user)
        journal = await self._read(training)
        await self._step(training, Stage.LEARNING, len(journal))
        recipe = Recipe(half_life_days=float(training.half_life_days))
        trained = await _off_the_loop(journal, recipe)
        await self._step(training, Stage.EXPORTING, len(journal))
        artefact = Artefact(trained.model, await asyncio.to_thread(pack, journal))
        await self._step(training, Stage.LOADING, len(journal))
        version = version_of(training, journal, trained, consent)
        try:
            await self._serving.load(version, artefact)
            await self._serving.warm_up(version, len(journal.tracks), WARM_UP_SECONDS)
            await self._register(training, version, artefact)
        except BaseException:
            # What is not registered must not stay loaded, whatever stopped it.
            await asyncio.shield(_quietly(self._serving, version.id))
            raise
        self._changes.tell(training.tenant, training.user)

    async def _read(self, training: Training) -> Journal:
        plays: list[Play] = []
        shown = asyncio.get_running_loop().time()
        async for page in self._plays.pages(training.tenant, training.user):
            plays.extend(page)
            if len(plays) > MOST_PLAYS:
                raise Fault(
                    reason_pb2.REASON_STATE_CONFLICT,
                    "The history holds more plays than a person can have listened to.",
                    metadata={"most_plays": str(MOST_PLAYS)},
                )
            if asyncio.get_running_loop().time() - shown > 0.5:
                await self._step(training, Stage.READING, len(plays))
                shown = asyncio.get_running_loop().time()
        if not plays:
            raise Fault(reason_pb2.REASON_HISTORY_EMPTY)
        if len(plays) < LEAST_PLAYS:
            raise Fault(
                reason_pb2.REASON_HISTORY_TOO_SHORT,
                f"The history has {len(plays)} plays of music; at least {LEAST_PLAYS} are needed.",
                metadata={"plays": str(len(plays)), "least_plays": str(LEAST_PLAYS)},
            )
        return await asyncio.to_thread(journal_of, plays)

    async def _step(self, training: Training, stage: Stage, plays_read: int) -> None:
        def move(stores: Stores) -> None:
            ours = self._ours(stores, training)
            stores.trainings.put(ours.moved(stage, stores.now, self._lease, plays_read=plays_read))

        await self._storage.write(move, tenant=training.tenant)

    async def _keep(self, training: Training) -> None:
        """Renew the lease while a step takes long."""

        def renew(stores: Stores) -> None:
            ours = self._ours(stores, training)
            stores.trainings.put(replace(ours, lease_until=stores.now + self._lease))

        while True:
            await asyncio.sleep(self._lease.total_seconds() / 3)
            try:
                await self._storage.write(renew, tenant=training.tenant)
            except _NotOurs:
                return
            except Fault as fault:
                _log.warning("the lease of training %s could not be renewed: %s", training.id, fault)

    def _ours(self, stores: Stores, training: Training) -> Training:
        now = stores.trainings.get(training.id, training.user)
        if now.state != State.RUNNING or (now.worker, now.attempts) != (self._worker, training.attempts):
            raise _NotOurs
        return now

    async def _register(self, training: Training, version: Version, artefact: Artefact) -> None:
        def register(stores: Stores) -> None:
            ours = self._ours(stores, training)
            # Asked again here: what was withdrawn while the model was learning must not become a model.
            self._consents.require(training.tenant, training.user)
            made = stores.models.register(
                lambda model, number: replace(
                    version, name=VersionName(training.user, model, number), created=stores.now
                ),
                artefact,
                training.user,
            )
            stores.models.point(
                made.name.model, CHAMPION, made.name.number, actor="service:ai", comment="Trained and loaded."
            )
            stores.trainings.put(ours.succeeded(made.name, stores.now))

        await self._storage.write(register, tenant=training.tenant)

    async def _failed(self, training: Training, error: Exception) -> None:
        fault = fault_of(error)
        again = fault.reason in _TRANSIENT and training.attempts < MOST_ATTEMPTS
        if fault.reason == reason_pb2.REASON_INTERNAL:
            _log.error("training %s failed", training.id, exc_info=error)
        else:
            _log.warning(
                "training %s failed: %s%s", training.id, fault, "; it is tried again" if again else ""
            )

        def end(stores: Stores) -> None:
            ours = self._ours(stores, training)
            if again:
                # The lease is the pause before the next attempt, longer each time.
                pause = timedelta(seconds=min(2.0**training.attempts, 30.0))
                stores.trainings.put(replace(ours, lease_until=stores.now + pause))
            else:
                failure = {"reason": fault.name, "message": fault.message[:512]}
                stores.trainings.put(ours.ended(State.FAILED, stores.now, **failure))

        try:
            await self._storage.write(end, tenant=training.tenant)
        except _NotOurs:
            _log.info("training %s was cancelled or taken over", training.id)

    async def _put_back(self, training: Training) -> None:
        def queue(stores: Stores) -> None:
            ours = self._ours(stores, training)
            stores.trainings.put(
                replace(
                    ours, state=State.QUEUED, stage=Stage.QUEUED, lease_until=None, attempts=ours.attempts - 1
                )
            )

        try:
            await self._storage.write(queue, tenant=training.tenant)
        except (_NotOurs, Fault) as error:
            _log.info("training %s was not given back: %r", training.id, error)


async def _off_the_loop(journal: Journal, recipe: Recipe) -> Trained:
    stop = threading.Event()

    def progress(_share: float) -> None:
        if stop.is_set():
            raise InterruptedError("nobody waits for this training any more")

    try:
        return await asyncio.to_thread(train, journal, recipe, progress)
    except asyncio.CancelledError:
        stop.set()
        raise


async def _quietly(serving: Serving, version_id: str) -> None:
    try:
        await serving.drop([version_id])
    except Fault as fault:
        _log.warning("the unregistered version %s stays loaded until the next tidying: %s", version_id, fault)
