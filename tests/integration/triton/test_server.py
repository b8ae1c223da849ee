"""The real tritonserver serves ONNX models under the name of the native backend, and only to who holds its key."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

CONFIG = """
name: "{name}"
backend: "onnxruntime"
max_batch_size: 0
input [{{ name: "x" data_type: TYPE_FP32 dims: [ -1 ] }}]
output [{{ name: "{output}" data_type: TYPE_FP32 dims: [ -1 ] }}]
instance_group [{{ kind: KIND_CPU count: 1 }}]
"""


def place_doubling_model(models: Path, name: str, output: str = "y") -> None:
    """A model y = x + x in the layout that the repository wants."""
    tensors = [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, ["n"]) for tensor in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], name, tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (models / name / "1").mkdir(parents=True)
    onnx.save(model, models / name / "1" / "model.onnx")
    (models / name / "config.pbtxt").write_text(CONFIG.format(name=name, output=output))


def vector(*values: float) -> triton.InferInput:
    tensor = triton.InferInput("x", [len(values)], "FP32")
    tensor.set_data_from_numpy(np.array(values, np.float32))
    return tensor


@pytest.fixture(scope="module")
def client(triton_server: Any) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(triton_server.endpoint) as client:
        yield client


def test_a_model_is_loaded_asked_and_unloaded(
    triton_server: Any, client: triton.InferenceServerClient
) -> None:
    place_doubling_model(triton_server.models, "doubling")
    headers = triton_server.headers
    assert not client.is_model_ready("doubling", headers=headers), "explicit control loads nothing by itself"
    client.load_model("doubling", headers=headers)
    assert client.infer("doubling", [vector(1, 2, 3)], headers=headers).as_numpy("y").tolist() == [2, 4, 6]
    client.unload_model("doubling", headers=headers)
    assert not client.is_model_ready("doubling", headers=headers)


def test_without_the_key_nothing_is_served(triton_server: Any, client: triton.InferenceServerClient) -> None:
    assert client.is_server_live(), "health is open"
    for headers in ({}, dict.fromkeys(triton_server.headers, "guess")):
        with pytest.raises(InferenceServerException, match="restricted"):
            client.get_model_repository_index(headers=headers)
        with pytest.raises(InferenceServerException, match="restricted"):
            client.infer("doubling", [vector(1)], headers=headers)


def test_what_reaches_into_the_machine_is_locked_for_the_key_holder_too(
    triton_server: Any, client: triton.InferenceServerClient
) -> None:
    with pytest.raises(InferenceServerException, match="restricted"):
        client.register_system_shared_memory("region", "/region", 64, headers=triton_server.headers)
    with pytest.raises(InferenceServerException, match="restricted"):
        client.update_log_settings({"log_file": "/etc/passwd"}, headers=triton_server.headers)
    with pytest.raises(InferenceServerException, match="restricted"):
        client.update_trace_settings(settings={"trace_file": "/etc/passwd"}, headers=triton_server.headers)


def test_a_config_that_disagrees_with_the_onnx_file_is_refused(
    triton_server: Any, client: triton.InferenceServerClient
) -> None:
    place_doubling_model(triton_server.models, "mismatched", output="z")
    with pytest.raises(InferenceServerException, match="disagree on output z"):
        client.load_model("mismatched", headers=triton_server.headers)


def test_a_broken_onnx_file_is_refused(triton_server: Any, client: triton.InferenceServerClient) -> None:
    place_doubling_model(triton_server.models, "broken")
    (triton_server.models / "broken" / "1" / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(InferenceServerException, match=r"cannot load model\.onnx"):
        client.load_model("broken", headers=triton_server.headers)
