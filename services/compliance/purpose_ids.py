"""Purposes by name and by number. Both are declared in the contract; the model and the database use the name."""

from __future__ import annotations

from polyphony.policy.v1 import policy_pb2

_NUMBERS: dict[str, policy_pb2.Purpose.ValueType] = {
    value.GetOptions().Extensions[policy_pb2.purpose].id: policy_pb2.Purpose.ValueType(value.number)
    for value in policy_pb2.Purpose.DESCRIPTOR.values
    if value.number
}
_IDS: dict[int, str] = {number: identifier for identifier, number in _NUMBERS.items()}


def purpose_id(number: int) -> str:
    """The identifier, such as ``listening-profile``; the number in decimal for a purpose the contract lacks."""
    return _IDS.get(number, str(number))


def purpose_number(identifier: str) -> policy_pb2.Purpose.ValueType:
    """The number; 0 (unspecified) for a purpose that has left the contract."""
    return _NUMBERS.get(identifier, policy_pb2.PURPOSE_UNSPECIFIED)
