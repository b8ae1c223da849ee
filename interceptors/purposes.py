"""The purposes of the contract, by number and by identifier."""

from __future__ import annotations

from collections.abc import Mapping

from polyphony.policy.v1 import policy_pb2

PURPOSE_METADATA = "polyphony-purpose"
"""Names the purpose of a call by its identifier; the method's first purpose where it is not sent."""


def _declared() -> Mapping[int, policy_pb2.PurposePolicy]:
    values = policy_pb2.Purpose.DESCRIPTOR.values
    return {
        value.number: value.GetOptions().Extensions[policy_pb2.purpose] for value in values if value.number
    }


PURPOSES: Mapping[int, policy_pb2.PurposePolicy] = _declared()
"""Every purpose's declaration by its number."""

PURPOSE_IDS: Mapping[int, str] = {number: policy.id for number, policy in PURPOSES.items()}
"""Every purpose's identifier, such as `listening-profile`, by its number."""

PURPOSE_NUMBERS: Mapping[str, int] = {identifier: number for number, identifier in PURPOSE_IDS.items()}
"""Every purpose's number by its identifier."""
