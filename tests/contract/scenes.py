"""What only a domain can know: the state that a method needs in order to succeed, and the request that then does.

A method that is not named here is called with the least request that its contract allows. A scene prepares its state
through the mesh's own methods, as a client would.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy

from interceptors.contract import MethodContract
from interceptors.ids import new_id
from polyphony.ai.v1 import (
    inference_service_pb2,
    model_pb2,
    model_registry_service_pb2,
    recommendation_service_pb2,
    training_service_pb2,
)
from polyphony.auth.v1 import auth_service_pb2 as auth
from polyphony.compliance.v1 import audit_ledger_service_pb2, audit_record_pb2, consent_service_pb2
from polyphony.policy.v1 import policy_pb2
from polyphony.spotify.v1 import user_data_service_pb2 as spotify
from tests.contract.catalogue import name_of
from tests.contract.mesh import BY_PATH, CONSENTS, PASSWORD, Mesh, Person
from tests.contract.requests import minimal


@dataclass
class Scene:
    """What is sent, and with which credential."""

    requests: Any
    token: str | None


async def scene(mesh: Mesh, method: MethodContract) -> Scene:
    """The state and the request with which the method succeeds."""
    prepare = SCENES.get(name_of(method))
    if prepare is None:
        return Scene(minimal(method), credential(mesh, method))
    return await prepare(mesh)


def credential(mesh: Mesh, method: MethodContract) -> str | None:
    """A credential that the method accepts: Alice's where it can be a person's."""
    if policy_pb2.CREDENTIAL_USER in method.credentials:
        return mesh.alice.token
    return mesh.service_token("ai") if policy_pb2.CREDENTIAL_SERVICE in method.credentials else None


async def consenting(mesh: Mesh) -> Person:
    """Somebody new with every consent, whose state nobody else changes."""
    person = await mesh.sign_up()
    await mesh.grant(person, *CONSENTS)
    return person


def play(minute: int) -> dict[str, Any]:
    """One element of an Extended Streaming History."""
    track = minute % 7
    return {
        "ts": f"2023-05-{1 + minute // 1440:02}T{minute // 60 % 24:02}:{minute % 60:02}:00Z",
        "ms_played": 180_000,
        "master_metadata_track_name": f"Track {track}",
        "master_metadata_album_artist_name": f"Artist {track % 3}",
        "master_metadata_album_album_name": f"Album {track % 3}",
        "spotify_track_uri": f"spotify:track:{track:022}",
        "reason_start": "trackdone",
        "reason_end": "trackdone",
        "shuffle": False,
        "skipped": False,
        "offline": False,
    }


def history(plays: int = 60) -> list[spotify.ImportHistoryRequest]:
    """A small history as a header and one chunk."""
    data = json.dumps([play(minute) for minute in range(plays)]).encode()
    header = spotify.ImportHeader(
        parent="users/me",
        file_name="Streaming_History_Audio_2023.json",
        size_bytes=len(data),
        sha256=hashlib.sha256(data).digest(),
    )
    chunk = spotify.ImportChunk(offset=0, data=data, crc32c=google_crc32c.value(data))
    return [spotify.ImportHistoryRequest(header=header), spotify.ImportHistoryRequest(chunk=chunk)]


async def imported(mesh: Mesh, plays: int = 60) -> tuple[Person, str]:
    """Somebody new with a history, and the name of its import."""
    person = await consenting(mesh)
    path = "/polyphony.spotify.v1.UserDataService/ImportHistory"
    outcome = await mesh.call(path, history(plays), person.token)
    return person, getattr(outcome.response, "import").name


async def _sign_up(mesh: Mesh) -> Scene:
    return Scene(auth.SignUpRequest(email=f"{new_id()}@example.org", password=PASSWORD), None)


async def _log_in(mesh: Mesh) -> Scene:
    return Scene(auth.LogInRequest(email=mesh.alice.email, password=PASSWORD), None)


async def _refresh(mesh: Mesh) -> Scene:
    person = await mesh.sign_up()
    return Scene(auth.RefreshRequest(refresh_token=person.refresh_token), None)


async def _log_out(mesh: Mesh) -> Scene:
    return Scene(auth.LogOutRequest(), (await mesh.sign_up()).token)


async def _append(mesh: Mesh) -> Scene:
    record = audit_record_pb2.AuditRecord(
        id=new_id(), tenant=mesh.alice.tenant, service="ai-0", method="test/Test"
    )
    request = audit_ledger_service_pb2.AppendRecordsRequest(records=[record.SerializeToString()])
    return Scene(request, mesh.service_token("ai"))


async def _get_proof(mesh: Mesh) -> Scene:
    outcome = await mesh.call("/polyphony.auth.v1.AuthService/WhoAmI", b"", mesh.alice.token)
    record = outcome.trailers["polyphony-audit-id"]
    from polyphony.compliance.v1 import audit_service_pb2

    return Scene(audit_service_pb2.GetProofRequest(name=f"users/me/records/{record}"), mesh.alice.token)


async def _grant(mesh: Mesh) -> Scene:
    request = consent_service_pb2.GrantConsentRequest(
        parent="users/me",
        purpose=policy_pb2.PURPOSE_LISTENING_PROFILE,
        notice_version=1,
        language_code="en",
    )
    return Scene(request, (await mesh.sign_up()).token)


async def _withdraw(mesh: Mesh) -> Scene:
    person = await consenting(mesh)
    name = "users/me/consents/listening-profile"
    return Scene(consent_service_pb2.WithdrawConsentRequest(name=name), person.token)


async def _import_history(mesh: Mesh) -> Scene:
    return Scene(history(), (await consenting(mesh)).token)


async def _get_import(mesh: Mesh) -> Scene:
    person, name = await imported(mesh)
    return Scene(spotify.GetImportRequest(name=name), person.token)


async def _delete_history(mesh: Mesh) -> Scene:
    person, _ = await imported(mesh)
    return Scene(spotify.DeleteHistoryRequest(name="users/me/history"), person.token)


async def _undelete_history(mesh: Mesh) -> Scene:
    deleted = await _delete_history(mesh)
    path = "/polyphony.spotify.v1.UserDataService/DeleteHistory"
    assert (await mesh.call(path, deleted.requests, deleted.token)).code == "OK"
    return Scene(spotify.UndeleteHistoryRequest(name="users/me/history"), deleted.token)


async def _start_training(mesh: Mesh) -> Scene:
    # Too short to learn from, so that the job ends at once; the call that starts it succeeds all the same.
    person, _ = await imported(mesh, plays=10)
    return Scene(training_service_pb2.StartTrainingRequest(parent="users/me"), person.token)


async def _operation(mesh: Mesh) -> tuple[str, str | None]:
    begun = await _start_training(mesh)
    path = "/polyphony.ai.v1.TrainingService/StartTraining"
    outcome = await mesh.call(path, begun.requests, begun.token)
    return outcome.response.operation.name, begun.token


async def _get_operation(mesh: Mesh) -> Scene:
    name, token = await _operation(mesh)
    return Scene(training_service_pb2.GetOperationRequest(name=name), token)


async def _cancel_operation(mesh: Mesh) -> Scene:
    name, token = await _operation(mesh)
    return Scene(training_service_pb2.CancelOperationRequest(name=name), token)


_trained: dict[int, tuple[Person, model_pb2.Model]] = {}


async def trained(mesh: Mesh) -> tuple[Person, model_pb2.Model]:
    """Somebody with a model in Triton: one for the whole suite."""
    if id(mesh) not in _trained:
        person, _ = await imported(mesh)
        request = training_service_pb2.StartTrainingRequest(parent="users/me")
        outcome = await mesh.call("/polyphony.ai.v1.TrainingService/StartTraining", request, person.token)
        name = outcome.response.operation.name
        while not outcome.response.operation.done:
            await asyncio.sleep(0.05)
            request = training_service_pb2.GetOperationRequest(name=name)
            outcome = await mesh.call("/polyphony.ai.v1.TrainingService/GetOperation", request, person.token)
        request = model_registry_service_pb2.ListModelsRequest(parent="users/me")
        outcome = await mesh.call("/polyphony.ai.v1.ModelRegistryService/ListModels", request, person.token)
        _trained[id(mesh)] = person, outcome.response.models[0]
    return _trained[id(mesh)]


def forget_the_trained() -> None:
    """Train somebody new next time: this one's session or consent is gone."""
    _trained.clear()


async def page_tokens(mesh: Mesh) -> dict[str, str]:
    """Tokens of second pages, by the method that gave them, of somebody who has more than one of each."""
    if not _tokens:
        person, _ = await imported(mesh)
        for path in (
            "/polyphony.spotify.v1.UserDataService/ListPlays",
            "/polyphony.compliance.v1.ConsentService/ListConsents",
            "/polyphony.compliance.v1.AuditService/ListRecords",
        ):
            request = minimal(BY_PATH[path])
            request.page_size = 1
            # Records reach the ledger a moment after their calls.
            async with asyncio.timeout(5):
                token = ""
                while not token:
                    await asyncio.sleep(0.02)
                    token = (await mesh.call(path, request, person.token)).response.next_page_token
            _tokens[name_of(BY_PATH[path])] = token
    return _tokens


_tokens: dict[str, str] = {}


async def _recommend(mesh: Mesh) -> Scene:
    person, _ = await trained(mesh)
    return Scene(recommendation_service_pb2.RecommendRequest(parent="users/me"), person.token)


async def _watch_recommendations(mesh: Mesh) -> Scene:
    person, _ = await trained(mesh)
    return Scene(recommendation_service_pb2.WatchRecommendationsRequest(parent="users/me"), person.token)


async def _get_model(mesh: Mesh) -> Scene:
    person, model = await trained(mesh)
    return Scene(model_registry_service_pb2.GetModelRequest(name=model.name), person.token)


async def _set_alias(mesh: Mesh) -> Scene:
    person, model = await trained(mesh)
    request = model_registry_service_pb2.SetAliasRequest(
        name=model.name, alias="candidate", version=model.versions[0].name
    )
    return Scene(request, person.token)


async def _infer(mesh: Mesh) -> Scene:
    """The inputs that the model's signature lists: ones, as few as it takes."""
    person, model = await trained(mesh)
    inputs = []
    for spec in model.versions[0].inputs:
        shape = [max(1, size) for size in spec.shape]
        ones = numpy.ones(shape, dtype=_NUMPY[spec.datatype])
        inputs.append(
            inference_service_pb2.Tensor(
                name=spec.name, datatype=spec.datatype, shape=shape, raw_contents=ones.tobytes()
            )
        )
    return Scene(inference_service_pb2.InferRequest(name=model.name, inputs=inputs), person.token)


_NUMPY = {"BOOL": "bool", "INT32": "<i4", "INT64": "<i8", "FP32": "<f4", "FP64": "<f8"}

SCENES: dict[str, Callable[[Mesh], Awaitable[Scene]]] = {
    "AuthService/SignUp": _sign_up,
    "AuthService/LogIn": _log_in,
    "AuthService/Refresh": _refresh,
    "AuthService/LogOut": _log_out,
    "AuditLedgerService/AppendRecords": _append,
    "AuditService/GetProof": _get_proof,
    "ConsentService/GrantConsent": _grant,
    "ConsentService/WithdrawConsent": _withdraw,
    "UserDataService/ImportHistory": _import_history,
    "UserDataService/GetImport": _get_import,
    "UserDataService/DeleteHistory": _delete_history,
    "UserDataService/UndeleteHistory": _undelete_history,
    "TrainingService/StartTraining": _start_training,
    "TrainingService/GetOperation": _get_operation,
    "TrainingService/CancelOperation": _cancel_operation,
    "RecommendationService/Recommend": _recommend,
    "RecommendationService/WatchRecommendations": _watch_recommendations,
    "ModelRegistryService/GetModel": _get_model,
    "ModelRegistryService/SetAlias": _set_alias,
    "InferenceService/Infer": _infer,
}
