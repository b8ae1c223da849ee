"""A model that does next to nothing (y = x + x), registered as somebody's champion in a running mesh.

What inference costs on the way shows best where the model itself costs nothing. The training makes no such model, so it
is written into the ai domain's database by the domain's own code.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import onnx
from onnx import TensorProto, helper

from cli.mesh.settings import MeshSettings
from interceptors.ids import new_id
from services.ai.adapters.model_repository import PREFIX
from services.ai.adapters.sql import SqlStorage
from services.ai.model import CHAMPION, Artefact, TrainingData, Version, VersionName
from services.ai.ports import Stores
from services.ai.training import Quality, Tensor
from services.runtime.keyring import Keyring
from services.runtime.persistence import Database

INPUT, OUTPUT, DATATYPE = "x", "y", "FP32"


async def register(settings: MeshSettings, tenant: str, user: str) -> tuple[str, str]:
    """Register the model for a person; returns its resource name and what Triton calls it once it is loaded."""
    content = _doubling()
    database = Database(
        f"sqlite:///{settings.home}/data/ai.db",
        domain="ai",
        keyring=Keyring.from_file(settings.keys / "ai.kek"),
    )

    def write(stores: Stores) -> Version:
        made = stores.models.register(
            lambda model, number: _version(tenant, VersionName(user, model, number), content),
            Artefact(content, b""),
            user,
        )
        stores.models.point(
            made.name.model, CHAMPION, made.name.number, actor="service:bench", comment="Measured."
        )
        return made

    try:
        version = await SqlStorage(database).write(write, tenant=tenant)
    finally:
        await database.close()
    return f"users/{user}/models/{version.name.model}", PREFIX + version.id


def _version(tenant: str, name: VersionName, content: bytes) -> Version:
    now = datetime.now(UTC)
    return Version(
        id=new_id(),
        tenant=tenant,
        name=name,
        digest=hashlib.sha256(content).hexdigest(),
        inputs=(Tensor(INPUT, DATATYPE, (-1,)),),
        outputs=(Tensor(OUTPUT, DATATYPE, (-1,)),),
        data=TrainingData(1, 1, now, now, ""),
        quality=Quality(k=1, steps=1, hit_rate=1.0, popularity_hit_rate=1.0),
        half_life_days=1,
        created=now,
    )


def _doubling() -> bytes:
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in (INPUT, OUTPUT)]
    graph = helper.make_graph(
        [helper.make_node("Add", [INPUT, INPUT], [OUTPUT])], "double", tensors[:1], tensors[1:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content
