"""Puts the domain's parts together, without gRPC: what the service runs and what the tests exercise."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from interceptors.faults import Fault
from interceptors.ids import new_id
from services.ai.adapters.sql import SqlStorage
from services.ai.changes import Changes
from services.ai.pointers import Pointers
from services.ai.ports import Consents, ModelServer, PlaySource
from services.ai.serving import Serving
from services.ai.settings import Settings
from services.ai.usecases.infer import Infer
from services.ai.usecases.quarantine import Quarantine
from services.ai.usecases.recommend import Recommend
from services.ai.usecases.registry import GetModel, ListModels, SetAlias
from services.ai.usecases.run_training import RunTraining
from services.ai.usecases.trainings import CancelTraining, GetTraining, StartTraining
from services.runtime.persistence import Database

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts of a running ai domain."""

    settings: Settings
    storage: SqlStorage
    changes: Changes
    serving: Serving
    start: StartTraining
    get: GetTraining
    cancel: CancelTraining
    recommend: Recommend
    infer: Infer
    list_models: ListModels
    get_model: GetModel
    set_alias: SetAlias
    quarantine: Quarantine

    def trainer(self, plays: PlaySource, consents: Consents) -> RunTraining:
        """The worker of trainings of this process."""
        return RunTraining(
            self.storage,
            plays,
            consents,
            self.serving,
            self.changes,
            worker=f"{self.settings.worker}-{new_id()}",  # a restarted process is another worker
            lease_seconds=self.settings.training_lease_seconds,
            poll_seconds=self.settings.training_poll_seconds,
        )

    async def keep_tidy(self) -> None:
        """Drop what is idle or may not be used any more, from time to time, until cancelled."""
        while True:
            try:
                await self.serving.tidy()
            except Fault as fault:
                _log.warning("tidying is put off: %s", fault)
            await asyncio.sleep(self.settings.tidy_seconds)


def assemble(settings: Settings, database: Database, server: ModelServer) -> Assembly:
    """Builds the domain over a database that need not be open yet."""
    storage = SqlStorage(database)
    changes = Changes()
    pointers = Pointers(storage, changes, fresh_seconds=settings.alias_fresh_seconds)
    serving = Serving(storage, server, held=settings.loaded_models, idle_seconds=settings.model_idle_seconds)
    return Assembly(
        settings=settings,
        storage=storage,
        changes=changes,
        serving=serving,
        start=StartTraining(storage, changes),
        get=GetTraining(storage),
        cancel=CancelTraining(storage),
        recommend=Recommend(pointers, serving),
        infer=Infer(pointers, serving),
        list_models=ListModels(storage),
        get_model=GetModel(storage),
        set_alias=SetAlias(storage, changes),
        quarantine=Quarantine(storage, serving, changes),
    )
