"""Builds the ai service: its parts, its gRPC services, and what runs beside them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from redis.asyncio import Redis

from interceptors.aio import RoadInterceptor
from polyphony.ai.v1.inference_service_pb2_grpc import add_InferenceServiceServicer_to_server
from polyphony.ai.v1.model_registry_service_pb2_grpc import add_ModelRegistryServiceServicer_to_server
from polyphony.ai.v1.recommendation_service_pb2_grpc import add_RecommendationServiceServicer_to_server
from polyphony.ai.v1.training_service_pb2_grpc import add_TrainingServiceServicer_to_server
from services.ai.adapters import spotify
from services.ai.adapters.consents import LedgerConsents
from services.ai.adapters.events import Withdrawals
from services.ai.adapters.model_repository import ModelRepository
from services.ai.adapters.triton import Triton
from services.ai.assembly import Assembly, assemble
from services.ai.servicers import (
    InferenceService,
    ModelRegistryService,
    RecommendationService,
    TrainingService,
)
from services.ai.settings import Settings
from services.runtime.event_consumer import EventConsumer
from services.runtime.hosting import Registration, Service
from services.runtime.keyring import Keyring
from services.runtime.member import Member
from services.runtime.persistence import Database
from services.runtime.settings import read_secret

MIGRATIONS = Path(__file__).parent / "migrations"


def build(settings: Settings) -> Service:
    """The ai service. Connects and opens nothing before its hooks run."""
    keyring = Keyring.from_file(settings.kek_file)
    database = Database(settings.database_url, domain="ai", keyring=keyring, migrations=MIGRATIONS)
    member = Member(settings, database)
    repository = ModelRepository(settings.triton_models, instances=settings.model_instances)
    triton = Triton(settings.triton_endpoint, settings.triton_key_file, repository)
    ai = assemble(settings, database, triton)
    service = member.service(registrations(ai))

    # Jobs rest on the same consent state as calls do.
    ledger = cast("RoadInterceptor", service.interceptors[0]).road.consents
    assert ledger is not None, "the methods of this domain rest on consent"
    plays = spotify.SpotifyPlays(member.channels.to(settings.spotify_endpoint, spotify.SERVICE))
    trainer = ai.trainer(plays, LedgerConsents(ledger))

    redis = Redis.from_url(settings.redis_url, password=_password(settings))
    consumer = EventConsumer(
        redis,
        group="ai",
        member=member.name,
        types=Withdrawals.TYPES,
        handler=Withdrawals(ai.quarantine).handle,
    )
    service.on_stop(triton.close)
    service.on_stop(redis.aclose)
    service.on_start(consumer.start)
    service.on_stop(consumer.stop)
    service.background("trainings", trainer.forever)
    service.background("tidying", ai.keep_tidy)
    return service


def registrations(ai: Assembly) -> list[Registration]:
    """The gRPC services of the domain."""
    settings = ai.settings
    return [
        (
            add_RecommendationServiceServicer_to_server,
            RecommendationService(
                ai.recommend,
                ai.changes,
                infer_seconds=settings.infer_seconds,
                poll_seconds=settings.watch_poll_seconds,
            ),
        ),
        (add_TrainingServiceServicer_to_server, TrainingService(ai.start, ai.get, ai.cancel)),
        (
            add_ModelRegistryServiceServicer_to_server,
            ModelRegistryService(ai.list_models, ai.get_model, ai.set_alias),
        ),
        (
            add_InferenceServiceServicer_to_server,
            InferenceService(ai.infer, infer_seconds=settings.infer_seconds),
        ),
    ]


def _password(settings: Settings) -> str | None:
    if not settings.redis_password_file.exists():
        return None  # a Redis that asks for none, such as one behind a managed network
    return read_secret(settings.redis_password_file).decode()
