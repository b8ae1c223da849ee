"""Server reflection, v1 and v1alpha, for the whole mesh.

Any one service answers for every service of the contract, so that a client behind Envoy needs to reach only one.
grpcio-reflection speaks v1alpha only; v1 is the same protocol under another package name, so its descriptor is derived.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import cache
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

import polyphony

_OLD, _NEW = "grpc.reflection.v1alpha", "grpc.reflection.v1"
SERVICES = (f"{_NEW}.ServerReflection", f"{_OLD}.ServerReflection")


@cache
def mesh_services() -> tuple[str, ...]:
    """The full names of all services of the contract, sorted. Imports every generated message module once."""
    names: list[str] = []
    for module in pkgutil.walk_packages(polyphony.__path__, "polyphony."):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(module.name).DESCRIPTOR
            names += [service.full_name for service in file.services_by_name.values()]
    return tuple(sorted(names))


@cache
def _describe_v1() -> None:
    """Add `grpc.reflection.v1` to the pool, so that reflection can be reflected upon under both names."""
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = "grpc/reflection/v1/reflection.proto", _NEW
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(f".{_OLD}.", f".{_NEW}.")
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(f".{_OLD}.", f".{_NEW}.")
        method.output_type = method.output_type.replace(f".{_OLD}.", f".{_NEW}.")
    descriptor_pool.Default().Add(file)


class _Answers(ReflectionServicer):  # type: ignore[misc]  # grpc_reflection has no types
    """grpcio-reflection's answers, and one it lacks: the protobuf pool does not find the file of a method's name."""

    def _file_containing_symbol(
        self, request: reflection_pb2.ServerReflectionRequest, name: str
    ) -> reflection_pb2.ServerReflectionResponse:
        with suppress(KeyError):  # not a method
            name = descriptor_pool.Default().FindMethodByName(name).containing_service.full_name
        return super()._file_containing_symbol(request, name)


class MeshReflection:
    """The servicer of both versions. Descriptors are loaded at the first question, not at start-up."""

    async def info(
        self,
        requests: AsyncIterator[reflection_pb2.ServerReflectionRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        """Answer each question of the stream."""
        names = (*mesh_services(), health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, *SERVICES)
        _describe_v1()
        async for response in _Answers(names).ServerReflectionInfo(requests, context):
            yield response

    def register(self, server: grpc.aio.Server) -> None:
        """Add both versions to `server`."""
        handler = grpc.stream_stream_rpc_method_handler(
            self.info,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        for service in SERVICES:
            server.add_registered_method_handlers(service, {"ServerReflectionInfo": handler})
