"""Purposes by name and by number. The model and the database use the name, the contract's messages the number."""

from __future__ import annotations

from interceptors.purposes import PURPOSE_IDS, PURPOSE_NUMBERS
from polyphony.policy.v1 import policy_pb2


def purpose_id(number: int) -> str:
    """The identifier, such as ``listening-profile``; the number in decimal for a purpose the contract lacks."""
    return PURPOSE_IDS.get(number, str(number))


def purpose_number(identifier: str) -> policy_pb2.Purpose.ValueType:
    """The number; 0 (unspecified) for a purpose that has left the contract."""
    return policy_pb2.Purpose.ValueType(PURPOSE_NUMBERS.get(identifier, policy_pb2.PURPOSE_UNSPECIFIED))
