"""An `onnxruntime` backend for a Triton that was built without the native one.

Triton treats a folder ``backends/<name>/`` that holds a ``model.py`` as a backend written in Python. Because
this one carries the native backend's name and reads the same files, a model repository made for it (a
``config.pbtxt`` with ``backend: "onnxruntime"`` and ``<version>/model.onnx``, no code) is served unchanged
by a Triton image that has the real backend. It runs in Triton's own environment, never in Polyphony's.
"""

import json
import os

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One instance of one version of one model; Triton calls an instance from one thread at a time."""

    def initialize(self, args):
        """Open ``<repository>/<version>/model.onnx`` and hold it to the inputs and outputs that were declared.

        Raises:
            pb_utils.TritonModelException: the file is missing or broken, or it disagrees with config.pbtxt.
                Triton then refuses the load and passes the sentence on to whoever asked for it.
        """
        config = json.loads(args["model_config"])
        file_name = config.get("default_model_filename") or "model.onnx"
        path = os.path.join(args["model_repository"], args["model_version"], file_name)
        options = onnxruntime.SessionOptions()
        # Instances are Triton's unit of parallelism; a thread pool in each of them would only fight for cores.
        options.intra_op_num_threads = int(_parameter(config, "intra_op_thread_count", "1"))
        options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises bare RuntimeError subclasses of its own making
            raise pb_utils.TritonModelException(f"cannot load {file_name}: {error}") from None
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        self._dtypes = {
            tensor["name"]: pb_utils.triton_string_to_numpy(tensor["data_type"])
            for tensor in config["output"]
        }
        _agree("input", self._inputs, [tensor.name for tensor in self._session.get_inputs()], exact=True)
        _agree("output", self._outputs, [tensor.name for tensor in self._session.get_outputs()], exact=False)

    def execute(self, requests):
        """Answer each request by itself; one that fails does not take its neighbours with it."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        feeds = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
        wanted = [name for name in self._outputs if name in request.requested_output_names()]
        try:
            values = self._session.run(wanted, feeds)
        except Exception as error:
            return pb_utils.InferenceResponse([], pb_utils.TritonError(f"inference failed: {error}"))
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor(name, np.ascontiguousarray(value, dtype=self._dtypes[name]))
                for name, value in zip(wanted, values, strict=True)
            ]
        )


def _parameter(config, name, default):
    return config.get("parameters", {}).get(name, {}).get("string_value", default)


def _agree(kind, declared, actual, *, exact):
    """An undeclared output is merely not served; a missing input or an unknown name can only be a mistake."""
    wrong = set(declared) ^ set(actual) if exact else set(declared) - set(actual)
    if wrong:
        raise pb_utils.TritonModelException(
            f"config.pbtxt and the ONNX file disagree on {kind} {', '.join(sorted(wrong))}"
        )
