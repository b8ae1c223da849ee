"""Run a version with tensors of the caller's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from interceptors.faults import Fault, FieldViolation
from polyphony.errors.v1 import reason_pb2
from services.ai.model import CHAMPION, Version
from services.ai.pointers import Pointers
from services.ai.ports import Array, Stores
from services.ai.serving import Serving
from services.ai.training import Tensor

MOST_ELEMENTS = 256
"""Elements of one input at most: the model's sums are exact up to here, and its memory is bounded."""

_BYTES = {"BOOL": 1, "INT32": 4, "INT64": 8, "FP32": 4, "FP64": 8}


class Infer:
    """Checks tensors against the version's signature, then lets the inference server answer."""

    def __init__(self, pointers: Pointers, serving: Serving) -> None:
        """Holds what it needs."""
        self._pointers = pointers
        self._serving = serving

    async def __call__(
        self,
        *,
        tenant: str,
        user: str,
        model: str,
        alias: str,
        inputs: Sequence[Array],
        outputs: Sequence[str],
        seconds: float,
    ) -> tuple[Version, Mapping[str, Array]]:
        """The version that the alias means, and its outputs in the order asked for.

        Raises Fault RESOURCE_NOT_FOUND, MODEL_QUARANTINED, TENSOR_MISMATCH and those of `Serving.infer`.
        """
        alias = alias or CHAMPION
        version = await self._pointers.version(
            tenant, user, model, alias, lambda stores: meant(stores, user, model, alias)
        )
        check(version, inputs, outputs)
        names = list(outputs) or [tensor.name for tensor in version.outputs]
        answer = await self._serving.infer(version, inputs, names, seconds)
        return version, {name: answer[name] for name in names}


def meant(stores: Stores, user: str, model: str, alias: str) -> Version:
    """The version that an alias of a model means. Raises Fault RESOURCE_NOT_FOUND or MODEL_QUARANTINED."""
    version = stores.models.meant(user, alias, model)
    if version is not None:
        return version.require_usable()
    found = stores.models.get(model, user)
    if found.versions:
        found.versions[0].require_usable()  # a quarantine takes the aliases away, too
    raise Fault(
        reason_pb2.REASON_RESOURCE_NOT_FOUND,
        "The model has no such alias.",
        metadata={"resource": found.name, "alias": alias},
    )


def check(version: Version, inputs: Sequence[Array], outputs: Sequence[str]) -> None:
    """Hold tensors to the signature. Raises Fault TENSOR_MISMATCH naming every one that does not fit."""
    expected = {tensor.name: tensor for tensor in version.inputs}
    problems: list[FieldViolation] = []
    for place, array in enumerate(inputs):
        tensor = expected.pop(array.name, None)
        problem = (
            "The model has no such input, or it is given twice."
            if tensor is None
            else _problem(tensor, array)
        )
        if problem:
            problems.append(FieldViolation(f"inputs[{place}]", problem))
    problems += [FieldViolation("inputs", f"The input {name} is missing.") for name in expected]
    known = {tensor.name for tensor in version.outputs}
    problems += [
        FieldViolation(f"outputs[{place}]", "The model has no such output, or it is asked for twice.")
        for place, name in enumerate(outputs)
        if name not in known or name in outputs[:place]
    ]
    if problems:
        raise Fault(
            reason_pb2.REASON_TENSOR_MISMATCH, fields=problems, metadata={"resource": str(version.name)}
        )


def _problem(tensor: Tensor, array: Array) -> str:
    if array.datatype != tensor.datatype:
        return f"{tensor.name} takes {tensor.datatype}."
    sizes = zip(array.shape, tensor.shape, strict=False)
    if len(array.shape) != len(tensor.shape) or any(t not in (-1, a) for a, t in sizes):
        return f"{tensor.name} takes the shape {list(tensor.shape)}, where -1 is any size."
    elements = prod(array.shape)
    if not 1 <= elements <= MOST_ELEMENTS:
        return f"{tensor.name} takes 1 to {MOST_ELEMENTS} elements."
    if len(array.data) != elements * _BYTES[tensor.datatype]:
        return f"{tensor.name} of this shape has {elements * _BYTES[tensor.datatype]} bytes."
    return ""
