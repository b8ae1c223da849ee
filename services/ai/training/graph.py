"""The model as ONNX: the neighbour table and the two questions that can be asked of it.

Inputs (all one-dimensional):
    seeds    int64 [S]   tracks to continue from (the index `tracks` stands for none)
    weights  float [S]   how much each seed counts, 0 to 1000; rounded to multiples of 1/1024
    exclude  int64 [E]   tracks not to answer with (the index `tracks` excludes nothing)
    now      float [1]   days since the last play the model knows
    k        int64 [1]   how many answers at most
Outputs:
    items, scores              int64/double [k]  what goes well after the seeds, best first; score 0: no more
    contributions              double [k, S]     what each seed added; a row sums to its score exactly
    forgotten_items, _scores   int64/double [k]  loved and forgotten, best first
    forgotten_love, _staleness double [k]        the two factors of each of these scores

The sum is exact, not nearly so: similarities are multiples of 2**-20 below 16, weights multiples of 2**-10 up
to 1000, so every product and every sum of up to 256 of them fits a double unrounded, in whatever order.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from services.ai.training.affinity import Affinity
from services.ai.training.cooccurrence import Neighbours, Recipe

OPSET = 18
IR_VERSION = 9
"""Old enough for every onnxruntime since 1.15, which is what an inference server may bring."""

_DTYPES = {"int64": TensorProto.INT64, "float": TensorProto.FLOAT, "double": TensorProto.DOUBLE}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output of a model. `datatype` as in the Open Inference Protocol (INT64, FP32, FP64)."""

    name: str
    datatype: str
    shape: tuple[int, ...]


_INPUTS = (
    ("seeds", "int64", ["S"]),
    ("weights", "float", ["S"]),
    ("exclude", "int64", ["E"]),
    ("now", "float", [1]),
    ("k", "int64", [1]),
)
_OUTPUTS = (
    ("items", "int64", ["K"]),
    ("scores", "double", ["K"]),
    ("contributions", "double", ["K", "S"]),
    ("forgotten_items", "int64", ["F"]),
    ("forgotten_scores", "double", ["F"]),
    ("forgotten_love", "double", ["F"]),
    ("forgotten_staleness", "double", ["F"]),
)
_PROTOCOL_TYPES = {"int64": "INT64", "float": "FP32", "double": "FP64"}


def _signature(rows: tuple[tuple[str, str, list[Any]], ...]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(name, _PROTOCOL_TYPES[dtype], tuple(d if isinstance(d, int) else -1 for d in dims))
        for name, dtype, dims in rows
    )


INPUTS = _signature(_INPUTS)
OUTPUTS = _signature(_OUTPUTS)


def export(neighbours: Neighbours, affinity: Affinity, recipe: Recipe) -> bytes:
    """The model as ONNX bytes. The same tables give the same bytes, so that a digest names a model."""
    count, width = neighbours.index.shape
    # One row more: the track that stands for none, without neighbours and without love.
    index = np.concatenate((neighbours.index, np.full((1, width), count, np.int32)))
    similarity = np.concatenate((neighbours.similarity, np.zeros((1, width), np.float32)))
    love = np.append(affinity.love, np.float32(0))
    last_heard = np.append(affinity.last_heard, np.float32(0))
    constants: dict[str, NDArray[Any]] = {
        "neighbour_index": index,
        "neighbour_similarity": similarity,
        "love": love,
        "last_heard": last_heard,
        "nothing": np.zeros(count + 1, np.float64),
        "count": np.array([count], np.int64),
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "nought": np.array(0, np.float64),
        "unit": np.array(1, np.float64),
        "two": np.array(2, np.float64),
        "never": np.array([-1], np.float64),
        "weight_least": np.array(0, np.float32),
        "weight_most": np.array(1000, np.float32),
        "weight_parts": np.array(1024, np.float64),
        "stale_after": np.array(-recipe.stale_after_days, np.float64),
    }
    graph = helper.make_graph(
        _what_goes_well() + _what_is_forgotten(),
        "polyphony-listening",
        [helper.make_tensor_value_info(name, _DTYPES[dtype], dims) for name, dtype, dims in _INPUTS],
        [helper.make_tensor_value_info(name, _DTYPES[dtype], dims) for name, dtype, dims in _OUTPUTS],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="polyphony",
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def digest(model: bytes) -> str:
    """The SHA-256 of a model's bytes, in hexadecimal."""
    return hashlib.sha256(model).hexdigest()


def _node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)


def _what_goes_well() -> list[onnx.NodeProto]:
    return [
        _node("Clip", "weights weight_least weight_most", "clipped"),
        _node("Cast", "clipped", "wide", to=TensorProto.DOUBLE),
        _node("Mul", "wide weight_parts", "parts"),
        _node("Round", "parts", "whole_parts"),
        _node("Div", "whole_parts weight_parts", "exact_weights"),
        _node("Unsqueeze", "exact_weights one", "column"),
        _node("Gather", "neighbour_index seeds", "near"),
        _node("Cast", "near", "near_index", to=TensorProto.INT64),
        _node("Gather", "neighbour_similarity seeds", "near_similarity"),
        _node("Cast", "near_similarity", "similar", to=TensorProto.DOUBLE),
        _node("Mul", "similar column", "added"),
        # A dense row per seed: what it adds to each track.
        _node("Shape", "seeds", "seed_count"),
        _node("Shape", "nothing", "row_length"),
        _node("Concat", "seed_count row_length", "dense_shape", axis=0),
        _node("Expand", "nothing dense_shape", "silence"),
        _node("ScatterElements", "silence near_index added", "dense", axis=1, reduction="add"),
        _node("ReduceSum", "dense zero", "total", keepdims=0),
        # The seeds themselves, what is excluded and the track that is none are never answers.
        _node("Concat", "seeds exclude count", "barred", axis=0),
        _node("Shape", "barred", "barred_count"),
        _node("Expand", "never barred_count", "barring"),
        _node("ScatterElements", "total barred barring", "allowed", axis=0),
        _node("Min", "k count", "answers"),
        helper.make_node("TopK", ["allowed", "answers"], ["top", "items"], axis=0, sorted=1),
        _node("Max", "top nought", "scores"),
        _node("Gather", "dense items", "by_seed", axis=1),
        _node("Transpose", "by_seed", "contributions", perm=[1, 0]),
    ]


def _what_is_forgotten() -> list[onnx.NodeProto]:
    """love x staleness, where staleness = (1 - 2 ** -(days since last heard / stale_after)) ** 2."""
    return [
        _node("Cast", "now", "now_wide", to=TensorProto.DOUBLE),
        _node("Max", "now_wide nought", "since_model"),
        _node("Cast", "last_heard", "last_heard_wide", to=TensorProto.DOUBLE),
        _node("Add", "last_heard_wide since_model", "quiet"),
        _node("Div", "quiet stale_after", "halvings"),
        _node("Pow", "two halvings", "fresh"),
        _node("Sub", "unit fresh", "dull"),
        _node("Mul", "dull dull", "staleness"),
        _node("Cast", "love", "love_wide", to=TensorProto.DOUBLE),
        _node("Mul", "love_wide staleness", "missed"),
        _node("Concat", "exclude count", "unwanted", axis=0),
        _node("Shape", "unwanted", "unwanted_count"),
        _node("Expand", "never unwanted_count", "unwanting"),
        _node("ScatterElements", "missed unwanted unwanting", "wanted", axis=0),
        helper.make_node(
            "TopK", ["wanted", "answers"], ["forgotten_top", "forgotten_items"], axis=0, sorted=1
        ),
        _node("Max", "forgotten_top nought", "forgotten_scores"),
        _node("Gather", "love_wide forgotten_items", "forgotten_love"),
        _node("Gather", "staleness forgotten_items", "forgotten_staleness"),
    ]
