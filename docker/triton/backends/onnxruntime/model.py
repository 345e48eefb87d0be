"""Triton's `onnxruntime` backend written in Python, for servers that carry only the Python backend.

It loads the same model repository as the backend of NVIDIA's image. Requests that Triton batched run as one call; a call whose
callers have all gone is stopped at its next node. Accelerator blocks of a configuration are for that other backend, and are left
alone here.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read once, when it is imported: it would send facts of models to its makers
import onnxruntime
import triton_python_backend_utils as backend

CANCELLATION_CHECK_SECONDS = 0.1


class TritonPythonModel:
    """One instance of one version of a model."""

    def initialize(self, args):
        """Open `<repository>/<version>/<default_model_filename>`."""
        config = json.loads(args["model_config"])
        file = config.get("default_model_filename") or "model.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("RDDM_TRITON_THREADS", "1"))
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = Path(args["model_repository"], args["model_version"], file)
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.outputs = [value.name for value in self.session.get_outputs()]
        self.thread = ThreadPoolExecutor(1)

    def execute(self, requests):
        """One response per request, in order."""
        live = [request for request in requests if not request.is_cancelled()]
        answers, reason, code = {}, "cancelled", backend.TritonError.CANCELLED
        if live:
            try:
                answers = dict(zip(map(id, live), self.run(live), strict=True))
            except Exception as error:  # whatever it is, the callers must get it and the process go on
                reason, code = str(error), backend.TritonError.INTERNAL
        # one object for each: the server crashes over a response that stands in the list twice
        return [
            answers.get(id(request)) or backend.InferenceResponse(error=backend.TritonError(reason, code)) for request in requests
        ]

    def run(self, requests):
        """Concatenate the rows of all requests, run the graph once, and cut the outputs apart."""
        arrays = [[backend.get_input_tensor_by_name(request, name).as_numpy() for request in requests] for name in self.inputs]
        feeds = {name: np.concatenate(parts) if parts[1:] else parts[0] for name, parts in zip(self.inputs, arrays, strict=True)}
        outputs = self.answer(feeds, requests)
        rows = np.cumsum([len(part) for part in arrays[0]])[:-1]
        pieces = zip(*(np.split(output, rows) for output in outputs), strict=True)
        return [
            backend.InferenceResponse([backend.Tensor(name, part) for name, part in zip(self.outputs, piece, strict=True)])
            for piece in pieces
        ]

    def answer(self, feeds, requests):
        """Run the graph while watching for callers that leave."""
        options = onnxruntime.RunOptions()
        call = self.thread.submit(self.session.run, self.outputs, feeds, options)
        while wait([call], CANCELLATION_CHECK_SECONDS).not_done:
            options.terminate = all(request.is_cancelled() for request in requests)
        return call.result()

    def finalize(self):
        """Free the session."""
        self.thread.shutdown()
        self.session = None
