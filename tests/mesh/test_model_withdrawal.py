"""What a withdrawal and a deletion do to a person's model, in the whole mesh: refused at once, unloaded soon after."""

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from cli.demo.account import Listener, new_listener
from cli.demo.upload import upload
from cli.demo.watch import Watch
from cli.simulation import write_archive
from polyphony.ai.v1 import model_pb2
from polyphony.ai.v1.model_registry_service_pb2 import ListModelsRequest
from polyphony.ai.v1.operation_pb2 import OPERATION_STATE_SUCCEEDED, Operation
from polyphony.ai.v1.recommendation_service_pb2 import RecommendRequest
from polyphony.ai.v1.training_service_pb2 import GetOperationRequest, StartTrainingRequest
from polyphony.compliance.v1 import consent_service_pb2 as consent
from polyphony.policy.v1 import policy_pb2
from polyphony.spotify.v1.user_data_service_pb2 import DeleteHistoryRequest

RECOMMENDATIONS = policy_pb2.PURPOSE_PERSONALISED_RECOMMENDATIONS


def grant(listener: Listener, purpose: int) -> None:
    purposes = listener.ask(listener.consents.ListPurposes, consent.ListPurposesRequest()).response.purposes
    (notice,) = (notice for notice in purposes if notice.purpose == purpose)
    request = consent.GrantConsentRequest(
        parent="users/me",
        purpose=notice.purpose,
        notice_version=notice.version,
        language_code=notice.language_code,
        request_id=str(uuid.uuid4()),
    )
    listener.ask(listener.consents.GrantConsent, request)


def train(listener: Listener) -> Operation:
    request = StartTrainingRequest(parent="users/me")
    operation: Operation = listener.ask(listener.training.StartTraining, request).response.operation
    within(60, lambda: look(listener, operation).done)
    return look(listener, operation)


def look(listener: Listener, operation: Operation) -> Operation:
    asked = GetOperationRequest(name=operation.name)
    found: Operation = listener.ask(listener.training.GetOperation, asked).response.operation
    return found


def recommend(listener: Listener) -> Any:
    request = RecommendRequest(parent="users/me", size=5)
    return listener.ask(listener.recommendations.Recommend, request).response


def reason_of(error: grpc.RpcError) -> str:
    details = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]  # type: ignore[attr-defined]
    for packed in status_pb2.Status.FromString(details).details:
        if packed.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            return error_details_pb2.ErrorInfo.FromString(packed.value).reason
    return ""


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return reason_of(refused.value)


def within(seconds: float, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.1)


def entries(mesh: Any, operation: Operation) -> list[Path]:
    """What lies in Triton's repository of the version that a training made."""
    identifier = operation.name.rpartition("/")[2]
    return list((mesh.settings.home / "triton" / "models").glob(f"*{identifier}*"))


@pytest.fixture
def trained(mesh: Any, tmp_path: Path) -> Iterator[tuple[Listener, Operation]]:
    """A listener with a simulated history and a champion."""
    with mesh.channel() as channel:
        listener = new_listener(channel)
        for purpose in (policy_pb2.PURPOSE_IMPORT_HISTORY, RECOMMENDATIONS):
            grant(listener, purpose)
        upload(
            listener,
            write_archive(tmp_path / "history.zip", seed=5, plays=3_000, years=1),
            lambda _bytes: None,
        )
        operation = train(listener)
        assert operation.state == OPERATION_STATE_SUCCEEDED, operation.failure_message
        yield listener, operation


def test_a_withdrawal_refuses_the_next_call_and_the_open_stream_and_puts_the_model_aside(
    mesh: Any, trained: tuple[Listener, Operation]
) -> None:
    listener, operation = trained
    answer = recommend(listener)
    assert answer.model_version == operation.model_version
    assert all(cause.evidence for item in answer.recommendations for cause in item.contributions)
    assert entries(mesh, operation) != []
    watch = Watch(listener)
    assert watch.first(10)

    withdrawal = consent.WithdrawConsentRequest(
        name="users/me/consents/personalised-recommendations", request_id=str(uuid.uuid4())
    )
    listener.ask(listener.consents.WithdrawConsent, withdrawal)
    assert refusal(lambda: recommend(listener)) == "CONSENT_WITHDRAWN"
    assert watch.ended(5)
    assert watch.end is not None
    assert reason_of(watch.end) == "CONSENT_WITHDRAWN"
    within(15, lambda: entries(mesh, operation) == [])

    grant(listener, RECOMMENDATIONS)
    assert refusal(lambda: recommend(listener)) == "MODEL_QUARANTINED"
    (model,) = listener.ask(listener.models.ListModels, ListModelsRequest(parent="users/me")).response.models
    assert [version.state for version in model.versions] == [model_pb2.MODEL_STATE_QUARANTINED]
    assert list(model.aliases) == []
    again = train(listener)
    assert recommend(listener).model_version == again.model_version


def test_a_deleted_history_takes_its_model_along(mesh: Any, trained: tuple[Listener, Operation]) -> None:
    listener, operation = trained
    user = listener.who().user.name
    listener.ask(listener.history.DeleteHistory, DeleteHistoryRequest(name=f"{user}/history"))
    within(15, lambda: entries(mesh, operation) == [])
    assert refusal(lambda: recommend(listener)) == "MODEL_QUARANTINED"
    assert train(listener).failure_reason == "HISTORY_EMPTY"
