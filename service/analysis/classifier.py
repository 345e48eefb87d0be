"""The network that names a picture's faults, in ONNX Runtime on one thread: 0.5 MB beside this file (README.md is its card)."""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from rddm.faults import FAULTS, PixelFacts, Views, inputs_of
from service.errors import EngineUnavailable

FILE = Path(__file__).parent / "faults.onnx"
THRESHOLDS_KEY = "thresholds"  # in the graph's metadata


class Classifier:
    """Opened when first asked. Raises EngineUnavailable where ONNX Runtime is not installed."""

    def __init__(self, file: Path = FILE) -> None:
        self.file = file

    def probabilities(self, views: Views, facts: PixelFacts) -> dict[str, float]:
        """Of each fault, 0..1."""
        [logits] = self._session.run(None, inputs_of(views, facts))
        return dict(zip(FAULTS, (float(value) for value in logits[0]), strict=True))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, as that of a model."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()

    @cached_property
    def thresholds(self) -> Mapping[str, float]:
        """The probability of each fault from which on something is done about it."""
        thresholds: dict[str, float] = json.loads(self._session.get_modelmeta().custom_metadata_map[THRESHOLDS_KEY])
        return thresholds

    @cached_property
    def _session(self) -> Any:
        try:
            import onnxruntime  # noqa: PLC0415 (a gateway in front of Triton may lack it)
        except ModuleNotFoundError as missing:
            raise EngineUnavailable("task=auto needs onnxruntime; install the extra cpu or gpu") from missing
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(str(self.file), options, providers=["CPUExecutionProvider"])
