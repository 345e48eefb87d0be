"""Stands in for NVIDIA's trtexec where there is no GPU: takes the same words, keeps the graph as the "plan" and runs it on the CPU.

bf16 is played by fp16 with an error added, since ONNX Runtime has no bf16 convolutions on a CPU. Only a call that runs a plan
imports ONNX Runtime: half of what a call costs.
"""

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

FLOAT, FLOAT16, BFLOAT16 = 1, 10, 16  # of onnx.TensorProto
MILLISECONDS = {FLOAT: 3.0, BFLOAT16: 1.0, FLOAT16: 2.0}


def precision(model: "onnx.ModelProto") -> int:
    kinds = {a.i for node in model.graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to"}
    return next((kind for kind in (BFLOAT16, FLOAT16) if kind in kinds), FLOAT)


def build(words: dict[str, str], profiles: list[str]) -> None:
    if "--stronglyTyped" not in words or [f"--profile={k}" for k in range(len(profiles))] != profiles:
        sys.exit("types and profiles must be given")
    Path(words["--saveEngine"]).write_bytes(Path(words["--onnx"]).read_bytes())


def infer(words: dict[str, str]) -> None:
    import numpy as np  # noqa: PLC0415
    import onnx  # noqa: PLC0415
    import onnxruntime  # noqa: PLC0415

    model = onnx.load_from_string(Path(words["--loadEngine"]).read_bytes())
    kind = precision(model)
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == BFLOAT16:
                attribute.i = FLOAT16
    shapes = {k: [int(n) for n in v.split("x")] for k, v in (one.split(":") for one in words["--shapes"].split(","))}
    files = dict(one.split(":", 1) for one in words["--loadInputs"].split(","))
    feeds = {name: np.frombuffer(Path(file).read_bytes(), "<f4").reshape(shapes[name]) for name, file in files.items()}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    error = 0.05 if kind == BFLOAT16 else 0.0
    answers = [answer + error for answer in session.run(None, feeds)]
    entries = [{"name": name, "values": answer.ravel().tolist()} for name, answer in zip(names, answers, strict=True)]
    Path(words["--exportOutput"]).write_text(json.dumps(entries))
    median = MILLISECONDS[kind]
    print(f"[I] GPU Compute Time: min = 0.1 ms, max = 9.9 ms, mean = 5 ms, median = {median} ms, percentile(90%) = 6 ms")


def main() -> None:
    words = {word.split("=", 1)[0]: word.partition("=")[2] for word in sys.argv[1:]}
    print("&&&& RUNNING TensorRT.trtexec [TensorRT v110203] [b1] # trtexec")
    if "--onnx" in words:
        build(words, [word for word in sys.argv if re.match("--profile=", word)])
    elif "--loadEngine" in words:
        infer(words)


main()
