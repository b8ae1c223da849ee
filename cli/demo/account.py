"""The listener of a demo: a fresh account, and stubs that call in its name."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import grpc

from cli.client.session import SECONDS, Session
from polyphony.ai.v1 import (
    model_registry_service_pb2_grpc,
    recommendation_service_pb2_grpc,
    training_service_pb2_grpc,
)
from polyphony.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from polyphony.compliance.v1 import audit_service_pb2_grpc, consent_service_pb2_grpc
from polyphony.spotify.v1 import user_data_service_pb2_grpc


class Listener:
    """One person who is logged in. `metadata` goes with each call."""

    def __init__(self, channel: grpc.Channel, email: str, token: str) -> None:
        self.email = email
        self.metadata = (("authorization", f"Bearer {token}"),)
        self.auth: Any = auth_service_pb2_grpc.AuthServiceStub(channel)
        self.consents: Any = consent_service_pb2_grpc.ConsentServiceStub(channel)
        self.audit: Any = audit_service_pb2_grpc.AuditServiceStub(channel)
        self.history: Any = user_data_service_pb2_grpc.UserDataServiceStub(channel)
        self.training: Any = training_service_pb2_grpc.TrainingServiceStub(channel)
        self.models: Any = model_registry_service_pb2_grpc.ModelRegistryServiceStub(channel)
        self.recommendations: Any = recommendation_service_pb2_grpc.RecommendationServiceStub(channel)

    def ask(self, method: Any, request: Any, seconds: float = SECONDS) -> Answered:
        """Make a unary call; raises `grpc.RpcError`."""
        response, call = method.with_call(request, metadata=self.metadata, timeout=seconds)
        audit_id = dict(call.trailing_metadata() or ()).get("polyphony-audit-id", "")
        return Answered(response, str(audit_id))

    def who(self) -> auth_service_pb2.WhoAmIResponse:
        """The account as the mesh knows it."""
        response: auth_service_pb2.WhoAmIResponse = self.ask(
            self.auth.WhoAmI, auth_service_pb2.WhoAmIRequest()
        ).response
        return response


@dataclass(frozen=True, slots=True)
class Answered:
    """A response and the id of the audit record that the call left."""

    response: Any
    audit_id: str


def new_listener(channel: grpc.Channel) -> Listener:
    """Sign up and log in somebody who was not there before. Raises `CallError`."""
    email = f"listener-{secrets.token_hex(4)}@polyphony.example"
    password = secrets.token_urlsafe(24)
    door = Session(channel)
    door.sign_up(email, password, "Demo listener")
    return Listener(channel, email, door.log_in(email, password))
