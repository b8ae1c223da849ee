"""Triton over its gRPC protocol (KServe Open Inference Protocol v2 plus Triton's model repository extension).

Tensors pass through as the bytes they are: nothing is decoded on the way in or out. What Triton answers when
something is wrong is translated here, once, into the faults of the contract; its texts stay in the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from interceptors.faults import Fault
from polyphony.errors.v1 import reason_pb2
from services.ai.adapters.model_repository import DigestMismatch, ModelRepository
from services.ai.model import Version
from services.ai.ports import Array, NotLoaded

KEY_HEADER = "triton-grpc-protocol-polyphony-key"
LOAD_SECONDS = 15.0
"""A load takes about half a second; much longer, and Triton is not well."""

_NOT_HELD = frozenset({grpc.StatusCode.NOT_FOUND})
_log = logging.getLogger(__name__)


class Triton:
    """The inference server of the mesh."""

    def __init__(self, endpoint: str, key_file: Path, repository: ModelRepository) -> None:
        """Connects on first use. The key file is read for each connection's first call, so that it may come later."""
        self._repository = repository
        self._key_file = key_file
        self._channel = grpc.aio.insecure_channel(
            endpoint,
            options=[
                ("grpc.max_receive_message_length", 64 * 1024 * 1024),
                # After a restart of Triton the next call should not wait for a backoff that grew meanwhile.
                ("grpc.max_reconnect_backoff_ms", 1_000),
            ],
        )
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._key: tuple[tuple[str, str], ...] = ()
        self._loading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def load(self, version: Version, onnx: bytes) -> None:
        """Place the version's files and have Triton load them. Raises Fault MODEL_UNAVAILABLE."""
        # Two loads of one version at once would write into each other's files.
        lock = self._loading.setdefault(version.id, asyncio.Lock())
        async with lock:
            try:
                await asyncio.to_thread(self._repository.place, version, onnx)
            except (OSError, DigestMismatch) as error:
                _log.error("the files of %s cannot be placed: %r", version.id, error)
                raise _unavailable() from error
            request = service_pb2.RepositoryModelLoadRequest(model_name=self._repository.name(version.id))
            try:
                await self._call(self._stub.RepositoryModelLoad, request, LOAD_SECONDS)
            except grpc.aio.AioRpcError as error:
                _log.error("Triton did not load %s: %s %s", version.id, error.code(), error.details())
                raise _unavailable() from error

    async def unload(self, version_ids: Sequence[str]) -> None:
        """Have Triton drop versions and remove their files. Raises Fault MODEL_UNAVAILABLE when it cannot be asked."""
        for version_id in version_ids:
            # First the content, then the server's memory, last the entry: where Triton cannot be asked now, the
            # model is gone from the disk, and the empty entry says what is still to be unloaded.
            await asyncio.to_thread(self._repository.empty, version_id)
            request = service_pb2.RepositoryModelUnloadRequest(model_name=self._repository.name(version_id))
            try:
                await self._call(self._stub.RepositoryModelUnload, request, LOAD_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _NOT_HELD:
                    _log.error("Triton did not unload %s: %s %s", version_id, error.code(), error.details())
                    raise _unavailable() from error
            await asyncio.to_thread(self._repository.remove, version_id)

    def present(self) -> Sequence[str]:
        """The ids of the versions whose files lie in the model repository."""
        return self._repository.present()

    async def infer(
        self, version: str, inputs: Sequence[Array], outputs: Sequence[str], seconds: float
    ) -> Mapping[str, Array]:
        """Run a version. Raises NotLoaded, or Fault MODEL_UNAVAILABLE, TENSOR_MISMATCH, DEADLINE_EXCEEDED."""
        if seconds <= 0:
            raise Fault(reason_pb2.REASON_DEADLINE_EXCEEDED)
        request = service_pb2.ModelInferRequest(
            model_name=self._repository.name(version),
            inputs=[
                service_pb2.ModelInferRequest.InferInputTensor(
                    name=a.name, datatype=a.datatype, shape=a.shape
                )
                for a in inputs
            ],
            outputs=[service_pb2.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in outputs],
            raw_input_contents=[a.data for a in inputs],
        )
        try:
            answer = await self._call(self._stub.ModelInfer, request, seconds)
        except grpc.aio.AioRpcError as error:
            raise _fault_of(error, version) from error
        return {
            tensor.name: Array(tensor.name, tensor.datatype, tuple(tensor.shape), data)
            for tensor, data in zip(answer.outputs, answer.raw_output_contents, strict=True)
        }

    async def _call(self, method: Any, request: Any, seconds: float) -> Any:
        if not self._key:
            try:
                key = await asyncio.to_thread(self._key_file.read_text)
            except OSError as error:
                _log.error("the key of Triton cannot be read: %s", error)
                raise _unavailable() from error
            self._key = ((KEY_HEADER, key.strip()),)
        try:
            return await method(request, metadata=self._key, timeout=seconds)
        except grpc.aio.AioRpcError:
            self._key = ()  # it may have been made anew with a new mesh
            raise


def _unavailable() -> Fault:
    return Fault(reason_pb2.REASON_MODEL_UNAVAILABLE, retry_after=1.0, metadata={"service": "triton"})


def _fault_of(error: grpc.aio.AioRpcError, version: str) -> Exception:
    code, details = error.code(), error.details() or ""
    # An unloaded model is UNAVAILABLE to Triton, as is a Triton that does not answer at all.
    if code in _NOT_HELD or "unknown model" in details:
        return NotLoaded(version)
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return Fault(reason_pb2.REASON_DEADLINE_EXCEEDED)
    if code == grpc.StatusCode.INVALID_ARGUMENT or "inference failed" in details:
        _log.info("Triton refused tensors for %s: %s", version, details)
        return Fault(
            reason_pb2.REASON_TENSOR_MISMATCH,
            "The model refused the tensors: sizes do not match each other, or an index is out of its range.",
        )
    _log.error("Triton failed to run %s: %s %s", version, code, details)
    return _unavailable()
