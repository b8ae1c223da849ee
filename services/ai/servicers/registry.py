"""`polyphony.ai.v1.ModelRegistryService`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polyphony.ai.v1 import model_pb2
from polyphony.ai.v1 import model_registry_service_pb2 as pb
from polyphony.ai.v1.model_registry_service_pb2_grpc import ModelRegistryServiceServicer
from services.ai.model import Model, Version, VersionName
from services.ai.servicers.calls import identifier, owner, set_time, this_call
from services.ai.training import Tensor
from services.ai.usecases.registry import GetModel, ListModels, SetAlias

DEFAULT_PAGE_SIZE = 50


class ModelRegistryService(ModelRegistryServiceServicer):
    """Which models there are, and which version each alias means."""

    def __init__(self, list_models: ListModels, get_model: GetModel, set_alias: SetAlias) -> None:
        """Answers with these verbs."""
        self._list = list_models
        self._get = get_model
        self._set_alias = set_alias

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        """The models of a person."""
        page = await self._list(
            user=owner(request.parent), size=request.page_size or DEFAULT_PAGE_SIZE, token=request.page_token
        )
        return pb.ListModelsResponse(
            models=[_model(model) for model in page.models], next_page_token=page.next_page_token
        )

    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:
        """A model with its versions and aliases."""
        model = await self._get(user=owner(request.name), model=identifier(request.name, "models"))
        return pb.GetModelResponse(model=_model(model))

    async def SetAlias(self, request: pb.SetAliasRequest, context: Any) -> pb.SetAliasResponse:
        """Point an alias at a version, or remove it."""
        identity = this_call().identity
        return await self._set_alias(
            tenant=identity.tenant,
            user=owner(request.name),
            model=identifier(request.name, "models"),
            alias=request.alias,
            version=request.version,
            actor=identity.actor or identity.user,
            comment=request.comment,
            etag=request.etag,
            answer=lambda model: pb.SetAliasResponse(model=_model(model)),
        )


def _model(model: Model) -> model_pb2.Model:
    def name(number: int | None) -> str:
        return "" if number is None else str(VersionName(model.user, model.id, number))

    message = model_pb2.Model(
        name=model.name,
        versions=[_version(version) for version in model.versions],
        aliases=[
            model_pb2.ModelAlias(alias=alias, version=name(number)) for alias, number in model.aliases.items()
        ],
        etag=model.etag,
    )
    set_time(message.create_time, model.created)
    for change in model.changes:
        told = message.alias_changes.add(
            alias=change.alias, version=name(change.version), actor=change.actor, comment=change.comment
        )
        set_time(told.change_time, change.when)
    return message


def _version(version: Version) -> model_pb2.ModelVersion:
    usable = version.quarantined is None
    message = model_pb2.ModelVersion(
        name=str(version.name),
        sha256=bytes.fromhex(version.digest),
        state=model_pb2.MODEL_STATE_READY if usable else model_pb2.MODEL_STATE_QUARANTINED,
        inputs=_specs(version.inputs),
        outputs=_specs(version.outputs),
        training_data=model_pb2.TrainingData(
            plays=version.data.plays, items=version.data.tracks, consent_record=version.data.consent_record
        ),
        operation=f"users/{version.name.user}/operations/{version.id}",
        quality=model_pb2.ModelQuality(
            answers=version.quality.k,
            steps=version.quality.steps,
            hit_rate=version.quality.hit_rate,
            popularity_hit_rate=version.quality.popularity_hit_rate,
        ),
    )
    set_time(message.training_data.start_time, version.data.first)
    set_time(message.training_data.end_time, version.data.last)
    set_time(message.create_time, version.created)
    return message


def _specs(tensors: Sequence[Tensor]) -> list[model_pb2.TensorSpec]:
    return [model_pb2.TensorSpec(name=t.name, datatype=t.datatype, shape=t.shape) for t in tensors]
