"""The policy of every method, read from the descriptors, checked once, before a server starts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from google.protobuf import descriptor, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from interceptors.resources import Binding
from polyphony.policy.v1 import policy_pb2

EXEMPT_SERVICES = frozenset(
    {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
)
"""The only services that answer without a policy."""

DEFAULT_DEADLINE_SECONDS = 10.0
DEFAULT_MAX_REQUEST_BYTES = 65_536

_PERMISSION = re.compile(r"[a-z]+\.[a-z]+\.[a-zA-Z]+")
_PLAIN_MESSAGES = frozenset(
    {
        "google.protobuf.Timestamp",
        "google.protobuf.Duration",
        "google.protobuf.FieldMask",
        "google.protobuf.Empty",
    }
)
_TEXT = (descriptor.FieldDescriptor.TYPE_STRING, descriptor.FieldDescriptor.TYPE_BYTES)


class ContractError(Exception):
    """A contract that must not be served. `problems` names each method or field and what it lacks."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("the contract cannot be served:\n  " + "\n  ".join(self.problems))


@dataclass(frozen=True, eq=False)
class MethodContract:
    """One method and its policy, with defaults applied. `path` is `/package.Service/Method`."""

    path: str
    descriptor: descriptor.MethodDescriptor
    policy: policy_pb2.MethodPolicy

    @cached_property
    def name(self) -> str:
        """`package.Service/Method`."""
        return self.path[1:]

    @cached_property
    def request_class(self) -> type[Message]:
        """The class of a request message."""
        return message_factory.GetMessageClass(self.descriptor.input_type)

    @cached_property
    def streams(self) -> bool:
        """True where requests or responses stream."""
        return self.descriptor.client_streaming or self.descriptor.server_streaming

    @cached_property
    def credentials(self) -> frozenset[int]:
        """The accepted kinds of credential."""
        return frozenset(self.policy.credentials)

    @cached_property
    def public(self) -> bool:
        """True where a call without a credential is accepted."""
        return policy_pb2.CREDENTIAL_PUBLIC in self.credentials

    @cached_property
    def binding(self) -> Binding | None:
        """How the request names the resource it acts on."""
        if not self.policy.HasField("resource"):
            return None
        resource = self.policy.resource
        return Binding(resource.type, resource.field, tuple(resource.patterns))

    @cached_property
    def purposes(self) -> Mapping[int, int]:
        """Each purpose that the method serves with its legal basis; the first is the default."""
        return {use.purpose: use.basis or policy_pb2.LEGAL_BASIS_CONSENT for use in self.policy.purposes}

    @cached_property
    def subject(self) -> int:
        """Whose personal data the call touches."""
        return self.policy.subject or policy_pb2.SUBJECT_CALLER

    @cached_property
    def audit_level(self) -> int:
        """How much is recorded."""
        return self.policy.audit.level or policy_pb2.AUDIT_LEVEL_CALL

    @cached_property
    def audit_required(self) -> bool:
        """True where a call without a durable record is refused."""
        return self.policy.audit.on_failure != policy_pb2.AUDIT_FAILURE_ALLOW

    @cached_property
    def cost(self) -> int:
        """What a call costs against its caller's rate limit."""
        return self.policy.cost or 1

    @cached_property
    def priority(self) -> int:
        """Which calls are shed first."""
        return self.policy.priority or policy_pb2.PRIORITY_NORMAL

    @cached_property
    def default_deadline(self) -> float | None:
        """Seconds given to a call that brings no deadline; None for endless streams."""
        if self.policy.HasField("default_deadline"):
            return self.policy.default_deadline.ToTimedelta().total_seconds()
        return None if self.streams else DEFAULT_DEADLINE_SECONDS

    @cached_property
    def retention(self) -> float:
        """Seconds for which an answer is kept for a replay; 0 where calls are not deduplicated."""
        return self.policy.idempotency_retention.ToTimedelta().total_seconds()

    @cached_property
    def max_request_bytes(self) -> int:
        """The largest accepted request message."""
        return self.policy.max_request_bytes or DEFAULT_MAX_REQUEST_BYTES

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the method's descriptor, its policy included; audit records name it."""
        proto = descriptor_pb2.MethodDescriptorProto()
        self.descriptor.CopyToProto(proto)
        return hashlib.sha256(
            self.path.encode() + b"\0" + proto.SerializeToString(deterministic=True)
        ).digest()


class Contract(Mapping[str, MethodContract]):
    """The methods that a server answers, by exact path. Raises ContractError where one must not be served."""

    def __init__(self, services: Iterable[str], pool: descriptor_pool.DescriptorPool | None = None) -> None:
        self._pool = pool or descriptor_pool.Default()
        self._methods: dict[str, MethodContract] = {}
        problems: list[str] = []
        messages: dict[str, descriptor.Descriptor] = {}
        for name in services:
            if name in EXEMPT_SERVICES:
                continue
            for method in self._pool.FindServiceByName(name).methods:
                contract = MethodContract(
                    f"/{name}/{method.name}", method, method.GetOptions().Extensions[policy_pb2.method]
                )
                problems.extend(_method_problems(contract))
                _collect(method.input_type, messages)
                _collect(method.output_type, messages)
                self._methods[contract.path] = contract
        for found in messages.values():
            problems.extend(_message_problems(found))
        if problems:
            raise ContractError(problems)

    def __getitem__(self, path: str) -> MethodContract:
        return self._methods[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._methods)

    def __len__(self) -> int:
        return len(self._methods)


def field_policy(field: descriptor.FieldDescriptor) -> policy_pb2.FieldPolicy:
    """The policy of a field; empty where none is declared."""
    return field.GetOptions().Extensions[policy_pb2.field]


def _method_problems(method: MethodContract) -> Iterator[str]:
    policy, name = method.policy, method.name
    if not policy.credentials:
        yield f"{name}: has no policy: option (polyphony.policy.v1.method) with `credentials` is missing"
        return
    if policy_pb2.CREDENTIAL_UNSPECIFIED in policy.credentials:
        yield f"{name}: an accepted credential is unspecified"
    if not _PERMISSION.fullmatch(policy.permission) and not (method.public and not policy.permission):
        yield f"{name}: permission {policy.permission!r} is not of the form domain.resource.verb"
    if not policy.purposes:
        yield f"{name}: names no purpose"
    for use in policy.purposes:
        if use.purpose == policy_pb2.PURPOSE_UNSPECIFIED:
            yield f"{name}: a purpose is unspecified"
        if use.basis not in (0, policy_pb2.LEGAL_BASIS_CONSENT) and not use.justification:
            yield f"{name}: another legal basis than consent needs a justification"
    if policy.audit.level == policy_pb2.AUDIT_LEVEL_NONE and not policy.audit.justification:
        yield f"{name}: audit level NONE needs a justification"
    if policy.subject == policy_pb2.SUBJECT_RESOURCE_OWNER and not policy.HasField("resource"):
        yield f"{name}: its subject owns the resource, but it binds none"
    if (
        policy.subject == policy_pb2.SUBJECT_NONE
        and policy_pb2.LEGAL_BASIS_CONSENT in method.purposes.values()
    ):
        yield f"{name}: a purpose rests on consent, but the call has no subject who could consent"
    if method.binding is not None:
        problem = method.binding.problem(method.descriptor.input_type)
        if problem:
            yield f"{name}: {problem}"
    if method.retention and "request_id" not in method.descriptor.input_type.fields_by_name:
        yield f"{name}: keeps answers for replays, but its request has no field request_id"


def _collect(message: descriptor.Descriptor, found: dict[str, descriptor.Descriptor]) -> None:
    if message.full_name in found or message.full_name in _PLAIN_MESSAGES:
        return
    found[message.full_name] = message
    for field in message.fields:
        if field.message_type is not None:
            _collect(field.message_type, found)


def _message_problems(message: descriptor.Descriptor) -> Iterator[str]:
    if message.full_name.startswith("google."):
        yield f"{message.full_name}: its fields cannot be classified; use a typed message instead"
        return
    if message.GetOptions().map_entry:
        return
    for field in message.fields:
        holder = field
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            entry = field.message_type.fields_by_name
            if entry["key"].type not in _TEXT and entry["value"].type not in _TEXT:
                continue
        elif field.type not in _TEXT:
            continue
        if field_policy(holder).data_class == policy_pb2.DATA_CLASS_UNSPECIFIED:
            yield f"{field.full_name}: has no data class: option (polyphony.policy.v1.field) is missing"
