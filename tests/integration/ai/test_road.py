"""The domain's four gRPC services on a real socket and the whole road, over a real database and the real Triton."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2
from sqlalchemy import select

from interceptors.aio import chain
from interceptors.ports import ConsentState
from polyphony.ai.v1 import inference_service_pb2 as inference
from polyphony.ai.v1 import model_pb2, operation_pb2, recommendation_pb2
from polyphony.ai.v1 import model_registry_service_pb2 as registry
from polyphony.ai.v1 import recommendation_service_pb2 as recommendation
from polyphony.ai.v1 import training_service_pb2 as training
from polyphony.ai.v1.inference_service_pb2_grpc import InferenceServiceStub
from polyphony.ai.v1.model_registry_service_pb2_grpc import ModelRegistryServiceStub
from polyphony.ai.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from polyphony.ai.v1.training_service_pb2_grpc import TrainingServiceStub
from services.ai.adapters.consents import LedgerConsents
from services.ai.wiring import registrations
from services.runtime.audit_sink import DatabaseAuditSink
from services.runtime.hosting import service_names
from services.runtime.idempotency import DatabaseIdempotencyStore
from services.runtime.persistence import SYSTEM
from services.runtime.persistence.tables import READY, audit_outbox
from tests.fixtures.ports import USER, Consents, Rights, Tokens

ME = (("authorization", "Bearer good"),)


@dataclass
class Mesh:
    """A listening ai service, stubs to it, and the ports that the test decides."""

    domain: Any
    consents: Consents
    recommendations: Any
    trainings: Any
    models: Any
    inference: Any

    async def train(self) -> operation_pb2.Operation:
        """Ask for a training and wait for its end as a client does."""
        started = await self.trainings.StartTraining(
            training.StartTrainingRequest(parent="users/me"), metadata=ME
        )
        operation = started.operation
        while not operation.done:
            await asyncio.sleep(0.05)
            asked = training.GetOperationRequest(name=operation.name)
            operation = (await self.trainings.GetOperation(asked, metadata=ME)).operation
        return operation

    async def records(self) -> list[int]:
        """The states of the audit records."""
        query = select(audit_outbox.c.state)
        rows = await self.domain.database.read(
            lambda tx: tx.connection.execute(query).scalars().all(), tenant=SYSTEM
        )
        return list(rows)


@pytest.fixture
async def mesh(domain: Any) -> AsyncIterator[Mesh]:
    consents, audit = Consents(), DatabaseAuditSink(domain.database)
    servicers = registrations(domain.ai)
    road = chain(
        service_names(servicers),
        authenticator=Tokens(),
        authorizer=Rights(),
        consents=consents,
        audit=audit,
        idempotency=DatabaseIdempotencyStore(domain.database),
    )
    server = grpc.aio.server(interceptors=[road])
    for add, servicer in servicers:
        add(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await audit.start()
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    trainer = asyncio.create_task(domain.ai.trainer(domain.plays, LedgerConsents(consents)).forever())
    try:
        yield Mesh(
            domain,
            consents,
            RecommendationServiceStub(channel),
            TrainingServiceStub(channel),
            ModelRegistryServiceStub(channel),
            InferenceServiceStub(channel),
        )
    finally:
        trainer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await trainer
        await channel.close()
        await server.stop(None)
        await audit.stop()


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    details = dict(refused.value.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    for packed in status_pb2.Status.FromString(details).details:
        if packed.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            return refused.value.code().name, error_details_pb2.ErrorInfo.FromString(packed.value).reason
    return refused.value.code().name, ""


async def within(seconds: float, holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - what is awaited happens in a database
            await asyncio.sleep(0.02)


async def test_train_recommend_look_and_infer(mesh: Mesh) -> None:
    ask = recommendation.RecommendRequest(parent="users/me", size=5)
    assert await refusal(mesh.recommendations.Recommend(ask, metadata=ME)) == (
        "FAILED_PRECONDITION",
        "MODEL_NOT_TRAINED",
    )
    operation = await mesh.train()
    assert (operation.state, operation.stage) == (operation_pb2.OPERATION_STATE_SUCCEEDED, "done")
    assert operation.progress == 1.0
    assert operation.plays_read == len(mesh.domain.plays.history)

    answer = await mesh.recommendations.Recommend(ask, metadata=ME)
    assert answer.model_version == operation.model_version
    kinds = [item.kind for item in answer.recommendations]
    assert kinds == [recommendation_pb2.RECOMMENDATION_KIND_GOES_WELL_AFTER] * 5 + [
        recommendation_pb2.RECOMMENDATION_KIND_LOVED_AND_FORGOTTEN
    ] * (len(kinds) - 5)
    for item in answer.recommendations:
        assert sum(cause.score for cause in item.contributions) == item.score > 0
        assert item.item.artist.endswith("(simulated)")
        assert all(cause.evidence for cause in item.contributions)

    models = (await mesh.models.ListModels(registry.ListModelsRequest(parent="users/me"), metadata=ME)).models
    (model,) = models
    (version,) = model.versions
    assert version.name == operation.model_version
    assert version.state == model_pb2.MODEL_STATE_READY
    assert len(version.sha256) == 32
    assert version.training_data.plays == operation.plays_read
    assert version.training_data.consent_record == "c1"
    assert version.operation == operation.name
    assert version.quality.hit_rate > version.quality.popularity_hit_rate
    assert [(alias.alias, alias.version) for alias in model.aliases] == [("champion", version.name)]

    def tensor(name: str, values: np.ndarray, datatype: str) -> inference.Tensor:
        return inference.Tensor(
            name=name, datatype=datatype, shape=values.shape, raw_contents=values.tobytes()
        )

    asked = inference.InferRequest(
        name=model.name,
        inputs=[
            tensor("seeds", np.array([0]), "INT64"),
            tensor("weights", np.array([1], np.float32), "FP32"),
            tensor("exclude", np.array([1]), "INT64"),
            tensor("now", np.array([0], np.float32), "FP32"),
            tensor("k", np.array([3]), "INT64"),
        ],
        outputs=["items"],
    )
    (items,) = (await mesh.inference.Infer(asked, metadata=ME)).outputs
    assert (items.name, items.datatype, list(items.shape)) == ("items", "INT64", [3])
    asked.inputs[0].datatype = "FP32"
    assert await refusal(mesh.inference.Infer(asked, metadata=ME)) == ("INVALID_ARGUMENT", "TENSOR_MISMATCH")
    assert set(await mesh.records()) == {READY}


async def test_a_repeated_request_id_starts_one_training(mesh: Mesh) -> None:
    ask = training.StartTrainingRequest(parent="users/me", request_id=str(uuid.uuid4()))
    first = await mesh.trainings.StartTraining(ask, metadata=ME)
    assert await mesh.trainings.StartTraining(ask, metadata=ME) == first
    other = training.StartTrainingRequest(parent="users/me", request_id=ask.request_id, half_life_days=9)
    assert (await refusal(mesh.trainings.StartTraining(other, metadata=ME)))[1] == "REQUEST_ID_REUSED"
    cancelled = await mesh.trainings.CancelOperation(
        training.CancelOperationRequest(name=first.operation.name), metadata=ME
    )
    assert cancelled.operation.done
    unknown = training.GetOperationRequest(name="users/me/operations/nothing")
    assert await refusal(mesh.trainings.GetOperation(unknown, metadata=ME)) == (
        "NOT_FOUND",
        "RESOURCE_NOT_FOUND",
    )


async def test_a_watch_follows_the_champion_and_ends_with_the_consent(mesh: Mesh) -> None:
    first = await mesh.train()
    watch = mesh.recommendations.WatchRecommendations(
        recommendation.WatchRecommendationsRequest(parent="users/me", size=3), metadata=ME
    )
    told = aiter(watch)
    assert (await anext(told)).model_version == first.model_version
    second = await mesh.train()
    assert (await anext(told)).model_version == second.model_version
    name = first.model_version.rpartition("/versions/")[0]
    back = registry.SetAliasRequest(
        name=name,
        alias="champion",
        version=first.model_version.replace(USER, "me", 1),
        comment="It was better",
    )
    changed = (await mesh.models.SetAlias(back, metadata=ME)).model
    assert changed.alias_changes[0].actor == USER
    assert (await anext(told)).model_version == first.model_version

    mesh.consents.withdraw()
    assert await refusal(anext(told)) == ("FAILED_PRECONDITION", "CONSENT_WITHDRAWN")
    ask = recommendation.RecommendRequest(parent="users/me")
    assert await refusal(mesh.recommendations.Recommend(ask, metadata=ME)) == (
        "FAILED_PRECONDITION",
        "CONSENT_WITHDRAWN",
    )

    async def no_record_is_open() -> bool:
        return set(await mesh.records()) == {READY}

    await within(5, no_record_is_open)


async def test_a_withdrawal_during_a_training_ends_it(mesh: Mesh) -> None:
    async def withdraw(_start: int) -> None:
        mesh.consents.state = ConsentState.WITHDRAWN

    mesh.domain.plays.between = withdraw
    started = await mesh.trainings.StartTraining(
        training.StartTrainingRequest(parent="users/me"), metadata=ME
    )

    async def ended() -> bool:
        found = await mesh.domain.database.read(
            lambda tx: tx.connection.exec_driver_sql("SELECT failure_reason FROM trainings").scalar(),
            tenant=SYSTEM,
        )
        return found == "CONSENT_WITHDRAWN"

    await within(10, ended)
    mesh.consents.state = ConsentState.GRANTED
    asked = training.GetOperationRequest(name=started.operation.name)
    operation = (await mesh.trainings.GetOperation(asked, metadata=ME)).operation
    assert operation.state == operation_pb2.OPERATION_STATE_FAILED
    assert operation.model_version == ""


async def test_a_watch_of_history_that_was_deleted_says_so(mesh: Mesh) -> None:
    await mesh.train()
    told = aiter(
        mesh.recommendations.WatchRecommendations(
            recommendation.WatchRecommendationsRequest(parent="users/me"), metadata=ME
        )
    )
    await anext(told)

    await mesh.domain.ai.quarantine(
        tenant="t1", user=USER, before=datetime.now(UTC), reason="HISTORY_EMPTY", message="Deleted."
    )
    assert await refusal(anext(told)) == ("FAILED_PRECONDITION", "MODEL_QUARANTINED")
