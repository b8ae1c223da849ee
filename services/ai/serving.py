"""Which versions are in use: loaded into the inference server when needed, out of it when idle or not allowed.

A loaded version costs the server a process, and its journal costs this one some megabytes, so only what is used is
held. Nobody's belief about what the server holds is trusted: a version that turns out not to be loaded (another
worker unloaded it, the server was restarted) is loaded again, once, within the call that needs it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.ai.model import Artefact, Version
from services.ai.ports import EVERYWHERE, Array, ModelServer, NotLoaded, Storage
from services.ai.training import Journal, Memory, unpack


@dataclass(slots=True)
class Explained:
    """A journal, the numbers of its tracks by key, and what finds the plays behind an answer."""

    journal: Journal
    index: Mapping[str, int]
    memory: Memory
    used: float = field(default_factory=time.monotonic)


class Serving:
    """Answers of versions and the journals that explain them."""

    def __init__(self, storage: Storage, server: ModelServer, *, held: int, idle_seconds: float) -> None:
        """At most `held` versions are kept loaded by this process, none longer than `idle_seconds` unused."""
        self._storage = storage
        self._server = server
        self._held = held
        self._idle = idle_seconds
        self._used: OrderedDict[str, float] = OrderedDict()
        self._explained: OrderedDict[str, Explained] = OrderedDict()

    async def infer(
        self, version: Version, inputs: Sequence[Array], outputs: Sequence[str], seconds: float
    ) -> Mapping[str, Array]:
        """The named outputs within `seconds`. Raises the faults of `ModelServer.infer` and MODEL_QUARANTINED."""
        version.require_usable()
        deadline = time.monotonic() + seconds
        try:
            answer = await self._server.infer(version.id, inputs, outputs, seconds)
        except NotLoaded:
            await self.load(version, await self._artefact(version))
            answer = await self._loaded(version, inputs, outputs, deadline - time.monotonic())
        self._touch(version.id)
        return answer

    async def load(self, version: Version, artefact: Artefact) -> None:
        """Load a version, and unload the one that was not used for longest when that makes too many."""
        await self._server.load(version, artefact.onnx)
        self._touch(version.id)
        while len(self._used) > self._held:
            await self._server.unload([self._used.popitem(last=False)[0]])

    async def warm_up(self, version: Version, tracks: int, seconds: float) -> None:
        """Ask a version that was just loaded for its first answer, which also proves that it can give one. Raises the
        faults of `ModelServer.infer`."""
        nothing = Array("", "INT64", (1,), tracks.to_bytes(8, "little"))
        zero = Array("", "FP32", (1,), bytes(4))
        given = {"seeds": nothing, "weights": zero, "exclude": nothing, "now": zero, "k": nothing}
        inputs = [replace(array, name=name) for name, array in given.items()]
        await self._loaded(version, inputs, [tensor.name for tensor in version.outputs], seconds)

    async def explained(self, version: Version) -> Explained:
        """The journal of a version, from memory where it was used lately. Raises Fault MODEL_QUARANTINED."""
        version.require_usable()
        found = self._explained.get(version.id)
        if found is None:
            artefact = await self._artefact(version)
            found = await asyncio.to_thread(_explained, version, artefact)
            self._explained[version.id] = found
            while len(self._explained) > self._held:
                self._explained.popitem(last=False)
        found.used = time.monotonic()
        self._explained.move_to_end(version.id)
        return found

    async def drop(self, version_ids: Sequence[str]) -> None:
        """Forget versions and have the server unload them. Raises Fault MODEL_UNAVAILABLE when it cannot be asked."""
        for version_id in version_ids:
            self._explained.pop(version_id, None)
            self._used.pop(version_id, None)
        await self._server.unload(version_ids)

    async def tidy(self) -> None:
        """Drop what is idle and what may not be used any more, also what another process left in the repository."""
        since = time.monotonic() - self._idle
        for version_id in [v for v, found in self._explained.items() if found.used < since]:
            del self._explained[version_id]
        present = self._server.present()
        known = sorted({*present, *self._explained, *self._used})
        # A version bears the id of its training, which may have loaded it and not registered it yet.
        usable = await self._storage.read(
            lambda stores: stores.models.usable(known) | stores.trainings.unfinished(known), tenant=EVERYWHERE
        )
        idle = [version_id for version_id, used in self._used.items() if used < since]
        gone = [version_id for version_id in known if version_id not in usable]
        if idle or gone:
            await self.drop([*idle, *gone])

    async def _loaded(
        self, version: Version, inputs: Sequence[Array], outputs: Sequence[str], seconds: float
    ) -> Mapping[str, Array]:
        """What a version answers that was loaded just now; another worker may have made room with it meanwhile."""
        try:
            return await self._server.infer(version.id, inputs, outputs, seconds)
        except NotLoaded:
            raise Fault(reason_pb2.REASON_MODEL_UNAVAILABLE, retry_after=1.0) from None

    def _touch(self, version_id: str) -> None:
        self._used[version_id] = time.monotonic()
        self._used.move_to_end(version_id)

    async def _artefact(self, version: Version) -> Artefact:
        return await self._storage.read(lambda stores: stores.models.artefact(version), tenant=version.tenant)


def _explained(version: Version, artefact: Artefact) -> Explained:
    journal = unpack(artefact.journal)
    index = {track.key: position for position, track in enumerate(journal.tracks)}
    return Explained(journal, index, Memory(journal, version.recipe))
