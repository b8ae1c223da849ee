"""Finds methods of the contract by name and turns JSON into their messages, from the generated descriptors alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message

from cli.edge.contract import DESCRIPTORS


class UnknownMethodError(Exception):
    """No method, or more than one, has the name. The text lists what was meant perhaps."""


class BadRequestError(Exception):
    """The JSON is not a request of the method. The text says where."""


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC, ready to be called with JSON."""

    descriptor: MethodDescriptor

    @property
    def path(self) -> str:
        """The HTTP/2 path."""
        return f"/{self.descriptor.containing_service.full_name}/{self.descriptor.name}"

    def requests(self, text: str) -> list[Message]:
        """The request messages in `text`: a JSON object, or an array of them for a client stream.

        Raises `BadRequestError`.
        """
        try:
            given = json.loads(text)
        except json.JSONDecodeError as error:
            raise BadRequestError(f"not JSON: {error}") from None
        if isinstance(given, list) and not self.descriptor.client_streaming:
            raise BadRequestError(f"{self.descriptor.name} takes one request, not an array")
        try:
            return [self._request(item) for item in (given if isinstance(given, list) else [given])]
        except json_format.ParseError as error:
            raise BadRequestError(f"not a {self.descriptor.input_type.name}: {error}") from None

    def response(self, data: bytes) -> Message:
        """A response message from its bytes."""
        return message_factory.GetMessageClass(self.descriptor.output_type).FromString(data)

    def _request(self, given: Any) -> Message:
        message = message_factory.GetMessageClass(self.descriptor.input_type)()
        json_format.ParseDict(given, message)
        return message


class Contract:
    """Every method of the generated descriptors."""

    @cached_property
    def _pool(self) -> descriptor_pool.DescriptorPool:
        pool = descriptor_pool.DescriptorPool()
        for file in self._files.file:
            pool.Add(file)
        return pool

    @cached_property
    def _files(self) -> FileDescriptorSet:
        return FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())

    def find(self, name: str) -> Method:
        """The method that `name` means: `AuthService/WhoAmI`, with as much of the package as is needed.

        Raises `UnknownMethodError`.
        """
        wanted = name.replace("/", ".").strip(".")
        known = list(self._names())
        found = [full for full in known if full == wanted or full.endswith(f".{wanted}")]
        if len(found) != 1:
            tail = wanted.rpartition(".")[2].lower()
            near = found or [full for full in known if tail in full.lower()] or known
            listed = ", ".join(_slashed(full) for full in sorted(near)[:8])
            raise UnknownMethodError(
                f"{'several methods are' if found else 'no method is'} called {name}: {listed}"
            )
        return Method(self._pool.FindMethodByName(found[0]))

    def text(self, message: Message) -> str:
        """The message as JSON, indented, with the types of the contract known inside Any."""
        shown = json_format.MessageToJson(message, descriptor_pool=self._pool, ensure_ascii=False)
        return str(shown)

    def _names(self) -> Iterator[str]:
        for file in self._files.file:
            for service in file.service:
                for method in service.method:
                    yield f"{file.package}.{service.name}.{method.name}"


def _slashed(full_name: str) -> str:
    service, _, method = full_name.rpartition(".")
    return f"{service}/{method}"
