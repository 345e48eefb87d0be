#!/usr/bin/env bash
# onnxruntime-ep-openvino 1.8.1, the plug-in form of ONNX Runtime's OpenVINO provider, does not read the options that the built-in form
# documents: a session with precision or num_of_threads is made, whatever their values, and the log has a warning; a name that nobody
# knows is passed over without one. Only load_config is read, and in it a wrong name is refused. So precision=ACCURATE changes nothing:
# where the processor computes in bf16, the plug-in does, up to INFERENCE_PRECISION_HINT in load_config.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check onnxruntime==1.32.0 onnxruntime-ep-openvino==1.8.1 onnx==1.23.2 numpy==2.4.6
"$work/venv/bin/python" - 2>"$work/log" <<'PY' || { cat "$work/log"; exit 1; }
import json
from importlib.metadata import version

import numpy as np
import onnxruntime as ort
import onnxruntime_ep_openvino as plug_in
from onnx import TensorProto, helper

print("onnxruntime", ort.__version__, "onnxruntime-ep-openvino", version("onnxruntime-ep-openvino"))
random = np.random.default_rng(0)
weights = random.standard_normal((16, 16, 3, 3)).astype(np.float32)
tensor = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 16, 32, 32])
graph = helper.make_graph(
    [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)], "conv", [tensor("x")], [tensor("y")],
    [helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.tobytes(), raw=True)],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
x = random.standard_normal((1, 16, 32, 32)).astype(np.float32)
exact = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
ort.register_execution_provider_library("openvino", plug_in.get_library_path())
device = next(one for one in ort.get_ep_devices() if one.ep_metadata.get("ov_device") == "CPU")


def difference(options):
    chosen = ort.SessionOptions()
    try:
        chosen.add_provider_for_devices([device], options)
        session = ort.InferenceSession(model, chosen)
    except Exception as error:
        return type(error).__name__
    assert session.get_providers()[0] == "OpenVINOExecutionProvider"
    return float(np.abs(session.run(None, {"x": x})[0] - exact).max())


def config(**properties):
    return {"load_config": json.dumps({"CPU": properties})}


plain = difference({})
print(f"without options: {plain:.1e} from float32 ({'bf16' if plain > 1e-2 else 'float32'})")
for options in ({"precision": "ACCURATE"}, {"precision": "NONE AT ALL"}, {"num_of_threads": "many"}, {"no_such_option": "1"}):
    print(options, difference(options))
    assert difference(options) == plain
refused, float32 = difference(config(INFERENCE_PRECISION_HNT="f32")), difference(config(INFERENCE_PRECISION_HINT="f32"))
print("load_config, a name misspelt:", refused, "- rightly spelt:", float32)
assert isinstance(refused, str) and float32 < 1e-4
PY
grep -o "option [a-z_]* is ignored" "$work/log" | sort -u
grep -q "option precision is ignored" "$work/log" && grep -q "option num_of_threads is ignored" "$work/log"
if grep -q "no_such_option" "$work/log"; then exit 1; fi
