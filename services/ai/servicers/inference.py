"""`polyphony.ai.v1.InferenceService`."""

from __future__ import annotations

from typing import Any

from polyphony.ai.v1 import inference_service_pb2 as pb
from polyphony.ai.v1.inference_service_pb2_grpc import InferenceServiceServicer
from services.ai.ports import Array
from services.ai.servicers.calls import identifier, owner, seconds_left, this_call
from services.ai.usecases.infer import Infer


class InferenceService(InferenceServiceServicer):
    """Runs a model with tensors of the caller's own."""

    def __init__(self, infer: Infer, *, infer_seconds: float) -> None:
        """`infer_seconds` bounds the wait for the model."""
        self._infer = infer
        self._infer_seconds = infer_seconds

    async def Infer(self, request: pb.InferRequest, context: Any) -> pb.InferResponse:
        """Run the version that an alias means."""
        version, outputs = await self._infer(
            tenant=this_call().identity.tenant,
            user=owner(request.name),
            model=identifier(request.name, "models"),
            alias=request.alias,
            inputs=[
                Array(tensor.name, tensor.datatype, tuple(tensor.shape), tensor.raw_contents)
                for tensor in request.inputs
            ],
            outputs=request.outputs,
            seconds=seconds_left(self._infer_seconds),
        )
        return pb.InferResponse(
            outputs=[
                pb.Tensor(
                    name=array.name, datatype=array.datatype, shape=array.shape, raw_contents=array.data
                )
                for array in outputs.values()
            ],
            model_version=str(version.name),
        )
