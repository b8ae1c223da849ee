"""The seven steps of the demo, each through the edge, each consented, recorded and shown."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from cli.client.faults import describe
from cli.client.session import CallError
from cli.console import say, table
from cli.demo import views
from cli.demo.account import Listener, new_listener
from cli.demo.upload import upload
from cli.demo.watch import Watch
from polyphony.ai.v1 import recommendation_service_pb2, training_service_pb2
from polyphony.ai.v1.operation_pb2 import Operation, OperationState
from polyphony.compliance.v1 import audit_service_pb2, consent_service_pb2
from polyphony.policy.v1 import policy_pb2
from polyphony.spotify.v1 import user_data_service_pb2
from services.compliance.receipts import InclusionProof, ReceiptError, verify_receipt

PURPOSES = (
    policy_pb2.PURPOSE_IMPORT_HISTORY,
    policy_pb2.PURPOSE_LISTENING_PROFILE,
    policy_pb2.PURPOSE_PERSONALISED_RECOMMENDATIONS,
)
RECOMMENDATIONS = "personalised-recommendations"
TRAINING_SECONDS = 300.0
SHOWN_RECORDS = 1_000


class Journey:
    """One run of the demo.

    Raises `CallError` where the mesh refuses what it should allow, or allows what it should refuse.
    """

    def __init__(self, channel: grpc.Channel, public_key: bytes, *, plain: bool) -> None:
        self._channel = channel
        self._public_key = public_key
        self._plain = plain
        self._listener: Listener
        self._recommended = ""

    def run(self, files: Sequence[Path]) -> None:
        """Play all steps."""
        self._sign_up()
        self._consent()
        self._import(files)
        self._profile()
        self._train()
        self._recommend()
        self._prove()
        self._withdraw()

    def _sign_up(self) -> None:
        views.heading(1, "Sign up and log in", plain=self._plain)
        self._listener = new_listener(self._channel)
        me = self._listener.who().user
        rows = [
            ("e-mail", me.email),
            ("user", me.name),
            ("tenant", me.tenant),
            ("roles", ", ".join(me.roles)),
        ]
        table(("listener", ""), rows, plain=self._plain)

    def _consent(self) -> None:
        views.heading(2, "Read the purposes, and consent to each on its own", plain=self._plain)
        listener = self._listener
        request = consent_service_pb2.ListPurposesRequest(language_code="en")
        notices = {
            notice.purpose: notice for notice in self._ask(listener.consents.ListPurposes, request).purposes
        }
        rows = []
        for purpose in PURPOSES:
            notice = notices[purpose]
            grant = consent_service_pb2.GrantConsentRequest(
                parent="users/me",
                purpose=purpose,
                notice_version=notice.version,
                language_code=notice.language_code,
                request_id=str(uuid.uuid4()),
            )
            self._ask(listener.consents.GrantConsent, grant)
            rows.append((notice.title, notice.text, "granted"))
        table(("purpose", "in plain words", ""), rows, plain=self._plain)

    def _import(self, files: Sequence[Path]) -> None:
        views.heading(3, "Bring the listening history", plain=self._plain)
        found = []
        with self._progress(DownloadColumn(), TimeRemainingColumn()) as progress:
            for path in files:
                task = progress.add_task(path.name, total=path.stat().st_size)
                try:
                    found.append(upload(self._listener, path, partial(progress.advance, task)))
                except grpc.RpcError as error:
                    raise CallError("\n".join(describe(error))) from None
        for each in found:
            views.import_counts(each, plain=self._plain)

    def _profile(self) -> None:
        views.heading(4, "See what you listen to", plain=self._plain)
        request = user_data_service_pb2.GetListeningProfileRequest(parent="users/me", top_size=5)
        views.profile(
            self._ask(self._listener.history.GetListeningProfile, request).profile, plain=self._plain
        )

    def _train(self) -> None:
        views.heading(5, "Train a model on these plays alone, and recommend", plain=self._plain)
        training = self._listener.training
        start = training_service_pb2.StartTrainingRequest(parent="users/me", request_id=str(uuid.uuid4()))
        operation: Operation = self._ask(training.StartTraining, start).operation
        deadline = time.monotonic() + TRAINING_SECONDS
        with self._progress() as progress:
            task = progress.add_task("queued", total=1.0)
            while not operation.done and time.monotonic() < deadline:
                time.sleep(0.2)
                request = training_service_pb2.GetOperationRequest(name=operation.name)
                operation = self._ask(training.GetOperation, request).operation
                progress.update(task, completed=operation.progress, description=operation.stage)
        if operation.state != OperationState.OPERATION_STATE_SUCCEEDED:
            state = OperationState.Name(operation.state).removeprefix("OPERATION_STATE_").lower()
            raise CallError(f"the training {state}: {operation.failure_reason} {operation.failure_message}")
        say(f"model {operation.model_version}, learned from {operation.plays_read:,} plays")

    def _recommend(self) -> None:
        request = recommendation_service_pb2.RecommendRequest(parent="users/me", size=5)
        answered = self._answered(self._listener.recommendations.Recommend, request)
        self._recommended = answered.audit_id
        views.recommendations(answered.response.recommendations, plain=self._plain)

    def _prove(self) -> None:
        views.heading(6, "See what was recorded, and check one receipt", plain=self._plain)
        audit, me = self._listener.audit, self._listener.who().user.name
        name = f"{me}/records/{self._recommended}"
        proof = self._ask(audit.GetProof, audit_service_pb2.GetProofRequest(name=name))
        request = audit_service_pb2.ListRecordsRequest(parent="users/me", page_size=SHOWN_RECORDS)
        found = list(self._ask(audit.ListRecords, request).records)
        views.records(reversed(found), plain=self._plain)
        path = InclusionProof(proof.proof.index, list(proof.proof.hashes))
        try:
            checkpoint = verify_receipt(proof.leaf, path, proof.checkpoint.note, self._public_key)
        except ReceiptError as error:
            raise CallError(f"the receipt does not hold: {error}") from None
        say(
            f"verified: the recommendation {self._recommended} is record {proof.proof.index} of the "
            f"{checkpoint.size} that the checkpoint of {checkpoint.origin} signs for",
            None if self._plain else "green",
        )

    def _withdraw(self) -> None:
        views.heading(7, "Withdraw the consent to recommendations", plain=self._plain)
        watch = Watch(self._listener)
        if not watch.first(20) or watch.end is not None:
            raise CallError("the stream of recommendations did not open")
        try:
            name = f"users/me/consents/{RECOMMENDATIONS}"
            request = consent_service_pb2.WithdrawConsentRequest(name=name, request_id=str(uuid.uuid4()))
            self._ask(self._listener.consents.WithdrawConsent, request)
            self._refused()
            if not watch.ended(5) or watch.end is None:
                raise CallError("the open stream went on after the consent was withdrawn")
            say("the open stream ended:  " + describe(watch.end)[0])
        finally:
            watch.close()

    def _refused(self) -> None:
        request = recommendation_service_pb2.RecommendRequest(parent="users/me", size=1)
        try:
            self._listener.ask(self._listener.recommendations.Recommend, request)
        except grpc.RpcError as error:
            say("the very next call:     " + describe(error)[0])
            return
        raise CallError("a recommendation was given after its consent was withdrawn")

    def _ask(self, method: Any, request: Any) -> Any:
        return self._answered(method, request).response

    def _answered(self, method: Any, request: Any) -> Any:
        try:
            return self._listener.ask(method, request)
        except grpc.RpcError as error:
            raise CallError("\n".join(describe(error))) from None

    def _progress(self, *more: Any) -> AbstractContextManager[Progress]:
        columns = (TextColumn("{task.description}"), BarColumn(), *more)
        return Progress(*columns, disable=self._plain, transient=False)
