"""All that the contract declares, read from the descriptors: what is parametrised over it covers a new RPC for free."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor, descriptor_pool

from interceptors import Contract
from interceptors.contract import MethodContract, field_policy

ROOT = Path(__file__).resolve().parents[2]
_GENERATED = ROOT / "gen/python"


def _files() -> list[descriptor.FileDescriptor]:
    found = []
    for path in sorted(_GENERATED.glob("polyphony/*/v*/*_pb2.py")):
        importlib.import_module(".".join(path.relative_to(_GENERATED).with_suffix("").parts))
        proto = str(path.relative_to(_GENERATED)).removesuffix("_pb2.py") + ".proto"
        found.append(descriptor_pool.Default().FindFileByName(proto))
    return found


FILES = _files()
SERVICES = [service.full_name for file in FILES for service in file.services_by_name.values()]
METHODS: list[MethodContract] = list(Contract(SERVICES).values())


def name_of(method: MethodContract) -> str:
    """The identifier of a parametrised case: `UserDataService/GetImport`."""
    return method.name.rpartition(".")[2]


def domain_of(full_name: str) -> str:
    """`polyphony.<domain>.v1...`: the domain."""
    return full_name.split(".")[1]


def messages() -> Iterator[descriptor.Descriptor]:
    """Every message of the contract, nested ones too."""

    def inside(message: descriptor.Descriptor) -> Iterator[descriptor.Descriptor]:
        yield message
        for nested in message.nested_types:
            yield from inside(nested)

    for file in FILES:
        for message in file.message_types_by_name.values():
            yield from inside(message)


def fields() -> Iterator[descriptor.FieldDescriptor]:
    """Every field of the contract's own domains; those of the policy and error options are no data."""
    for message in messages():
        if domain_of(message.full_name) not in ("policy", "errors"):
            yield from message.fields


def at_rest(*kinds: int) -> dict[str, set[str]]:
    """By domain, the full names of the fields that must rest in one of these ways."""
    found: dict[str, set[str]] = {}
    for field in fields():
        if field_policy(field).at_rest in kinds:
            found.setdefault(domain_of(field.full_name), set()).add(field.full_name)
    return found
