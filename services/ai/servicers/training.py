"""`polyphony.ai.v1.TrainingService`."""

from __future__ import annotations

from typing import Any

from interceptors.ids import new_id
from polyphony.ai.v1 import operation_pb2
from polyphony.ai.v1 import training_service_pb2 as pb
from polyphony.ai.v1.training_service_pb2_grpc import TrainingServiceServicer
from services.ai.model import Training
from services.ai.ports import Stores
from services.ai.servicers.calls import identifier, owner, set_time, this_call
from services.ai.usecases.trainings import CancelTraining, GetTraining, StartTraining


class TrainingService(TrainingServiceServicer):
    """Trains a person's own model on the plays that they consented to."""

    def __init__(self, start: StartTraining, get: GetTraining, cancel: CancelTraining) -> None:
        """Answers with these verbs."""
        self._start = start
        self._get = get
        self._cancel = cancel

    async def StartTraining(self, request: pb.StartTrainingRequest, context: Any) -> pb.StartTrainingResponse:
        """Start a training. It runs on after this call has answered."""
        call = this_call()
        user, training = owner(request.parent), new_id()

        def queued(stores: Stores) -> Training:
            return Training(
                id=training,
                tenant=call.identity.tenant,
                user=user,
                half_life_days=request.half_life_days,
                consent_record=call.consent.record if call.consent else "",
                created=stores.now,
                updated=stores.now,
            )

        return await self._start(
            queued, answer=lambda made: pb.StartTrainingResponse(operation=_operation(made))
        )

    async def GetOperation(self, request: pb.GetOperationRequest, context: Any) -> pb.GetOperationResponse:
        """How a training stands."""
        training = await self._get(user=owner(request.name), training=identifier(request.name, "operations"))
        return pb.GetOperationResponse(operation=_operation(training))

    async def CancelOperation(
        self, request: pb.CancelOperationRequest, context: Any
    ) -> pb.CancelOperationResponse:
        """Cancel a training. One that ended already stays as it is."""
        return await self._cancel(
            user=owner(request.name),
            training=identifier(request.name, "operations"),
            answer=lambda ended: pb.CancelOperationResponse(operation=_operation(ended)),
        )


def _operation(training: Training) -> operation_pb2.Operation:
    message = operation_pb2.Operation(
        name=training.name,
        state=operation_pb2.OperationState.ValueType(training.state),
        done=training.state.done,
        progress=training.progress,
        stage=training.stage.value,
        plays_read=training.plays_read,
        model_version=str(training.version) if training.version else "",
        failure_reason=training.failure_reason,
        failure_message=training.failure_message,
    )
    set_time(message.create_time, training.created)
    set_time(message.update_time, training.updated)
    return message
