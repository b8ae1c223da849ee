"""Requests made from the contract alone: the least valid one of a method, and each that breaks one of its bounds.

Both come from the protovalidate rules and the resource binding of the request type, so that a new RPC needs nothing
here. What only a domain can know, such as a refresh token, is in `tests.contract.scenes`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import protovalidate
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from interceptors.contract import MethodContract

SOME_ID = "0193d1a2-7f00-7000-8000-000000000000"
"""The id of a resource that does not exist."""

_NUMBERS = ("int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "float", "double")
_NUMBER_TYPES = {getattr(FieldDescriptor, f"TYPE_{name.upper()}"): name for name in _NUMBERS}


@dataclass(frozen=True)
class Violation:
    """A request that breaks one bound, and the path of the field that a refusal must name."""

    label: str
    path: str
    request: Message


def minimal(method: MethodContract) -> Message:
    """The least request that keeps every bound, about the caller's own resource."""
    request = method.request_class()
    if method.binding is not None:
        name = method.binding.patterns[0].replace("{user}", "me")
        method.binding.write(request, _with_ids(name))
    _fill(request)
    protovalidate.validate(request)
    return request


def violations(method: MethodContract) -> Iterator[Violation]:
    """Every request that differs from the least one by breaking one bound, and still is small enough to be read."""
    for violation in _violations(minimal(method), ""):
        if violation.request.ByteSize() <= method.max_request_bytes:
            yield violation


def named(method: MethodContract, name: str) -> Message:
    """The least request, naming another resource."""
    request = minimal(method)
    assert method.binding is not None
    method.binding.write(request, name)
    return request


def of_user(method: MethodContract, user: str) -> str:
    """The name that the method's first pattern gives a user's resource."""
    assert method.binding is not None
    return _with_ids(method.binding.patterns[0].replace("{user}", user))


def _with_ids(pattern: str) -> str:
    return "/".join(SOME_ID if part.startswith("{") else part for part in pattern.split("/"))


def _rules(field: FieldDescriptor) -> Any:
    return field.GetOptions().Extensions[validate_pb2.field]


def _fill(message: Message) -> None:
    """Give every field that may not be empty a value within its bounds."""
    for oneof in message.DESCRIPTOR.GetOptions().Extensions[validate_pb2.message].oneof:
        if oneof.required and not any(message.HasField(name) for name in oneof.fields):
            getattr(message, oneof.fields[0]).SetInParent()
    for field in message.DESCRIPTOR.fields:
        rules = _rules(field)
        if field.is_repeated:
            items = getattr(message, field.name)
            while len(items) < rules.repeated.min_items:
                if field.message_type is not None:
                    _fill(items.add())
                else:
                    items.append(_least(field, rules.repeated.items))
        elif field.message_type is not None:
            if rules.required or message.HasField(field.name):
                _fill(getattr(message, field.name))
        elif not getattr(message, field.name) and rules.ignore != validate_pb2.IGNORE_IF_ZERO_VALUE:
            setattr(message, field.name, _least(field, rules))


def _least(field: FieldDescriptor, rules: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        if rules.string.email:
            return f"{uuid.uuid4().hex}@example.org"
        return str(uuid.uuid4()) if rules.string.uuid else "a" * (rules.string.min_len or rules.string.len)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b"a" * (rules.bytes.min_len or rules.bytes.len)
    if field.type == FieldDescriptor.TYPE_ENUM:
        refused = set(rules.enum.not_in)
        return next(v.number for v in field.enum_type.values if v.number not in refused)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return False
    bound = getattr(rules, _NUMBER_TYPES[field.type])
    least = bound.gte if bound.HasField("gte") else bound.gt + 1 if bound.HasField("gt") else 0
    return max(0, least)


def _violations(request: Message, prefix: str) -> Iterator[Violation]:
    """The ways of breaking each bound of `request`, and of the messages that are set in it."""

    def broken(path: str, label: str, change: Callable[[Message], None]) -> Violation:
        return Violation(label, prefix + path, _changed(request, change))

    yield from _oneof_violations(request, prefix)
    for field in request.DESCRIPTOR.fields:
        rules, name = _rules(field), field.name
        if field.is_repeated:
            yield from _list_violations(field, rules, broken)
        elif field.message_type is None:
            for label, value in _beyond(field, rules):
                yield broken(name, label, lambda copy, n=name, v=value: setattr(copy, n, v))
        elif request.HasField(name):
            for inner in _violations(getattr(request, name), f"{prefix}{name}."):
                change = lambda copy, n=name, r=inner.request: getattr(copy, n).CopyFrom(r)  # noqa: E731
                yield Violation(inner.label, inner.path, _changed(request, change))


def _oneof_violations(request: Message, prefix: str) -> Iterator[Violation]:
    """No part at all; and what can be wrong with each of the parts that the least request does not have."""
    for oneof in request.DESCRIPTOR.GetOptions().Extensions[validate_pb2.message].oneof:
        first, *others = oneof.fields
        if not request.HasField(first):
            continue
        yield Violation("has no part", prefix.rstrip("."), type(request)())
        for part in others:
            other = type(request)()
            getattr(other, part).SetInParent()
            _fill(other)
            yield from _violations(other, prefix)


def _changed(request: Message, change: Callable[[Message], None]) -> Message:
    copy = type(request)()
    copy.CopyFrom(request)
    change(copy)
    return copy


def _list_violations(
    field: FieldDescriptor, rules: Any, broken: Callable[..., Violation]
) -> Iterator[Violation]:
    name, bound = field.name, rules.repeated

    def extend(copy: Message, many: int) -> None:
        items = getattr(copy, name)
        while len(items) < many:
            if field.message_type is not None:
                _fill(items.add())
            else:
                items.append(_least(field, bound.items) or type(_least(field, bound.items))())

    if bound.HasField("max_items"):
        yield broken(name, "has too many items", lambda copy: extend(copy, bound.max_items + 1))
    if bound.min_items:
        yield broken(name, "has too few items", lambda copy: copy.ClearField(name))
    if field.message_type is None:
        for label, value in _beyond(field, bound.items):

            def put(copy: Message, value: Any = value) -> None:
                copy.ClearField(name)
                getattr(copy, name).append(value)

            yield broken(f"{name}[0]", label, put)
    else:

        def first(copy: Message) -> Message:
            extend(copy, max(1, bound.min_items))
            item: Message = getattr(copy, name)[0]
            return item

        holder = broken(name, "", first).request
        for inner in _violations(getattr(holder, name)[0], ""):

            def replace(copy: Message, inner: Violation = inner) -> None:
                first(copy).CopyFrom(inner.request)

            yield broken(f"{name}[0].{inner.path}", inner.label, replace)


def _beyond(field: FieldDescriptor, rules: Any) -> Iterator[tuple[str, Any]]:
    """Values of a scalar just beyond each of its bounds, each with what is wrong with it."""
    if field.type == FieldDescriptor.TYPE_STRING:
        text = rules.string
        if text.HasField("max_len"):
            yield "is too long", "a" * (text.max_len + 1)
        if text.min_len:
            yield "is too short", "a" * (text.min_len - 1)
        if text.email or text.uuid or text.HasField("pattern"):
            yield "has another form", "\u00e4 !" * 4
    elif field.type == FieldDescriptor.TYPE_BYTES:
        binary = rules.bytes
        if most := binary.max_len or binary.len:
            yield "is too long", b"a" * (most + 1)
        if least := binary.min_len or binary.len:
            yield "is too short", b"a" * (least - 1)
    elif field.type == FieldDescriptor.TYPE_ENUM:
        if rules.enum.defined_only:
            yield "is undefined", 99_999
        for refused in rules.enum.not_in:
            yield f"is {refused}", refused
    elif field.type in _NUMBER_TYPES:
        kind = _NUMBER_TYPES[field.type]
        bound = getattr(rules, kind)
        if bound.HasField("gte") and (bound.gte > 0 or not kind.startswith(("uint", "fixed"))):
            yield "is too small", bound.gte - 1
        if bound.HasField("gt"):
            yield "is too small", bound.gt
        if bound.HasField("lte"):
            yield "is too large", bound.lte + 1
        if bound.HasField("lt"):
            yield "is too large", bound.lt
