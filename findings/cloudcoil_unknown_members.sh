#!/usr/bin/env bash
# cloudcoil's models of KEDA and the Prometheus operator take members that their kinds do not have, at any depth, without a word: a
# misspelt manifest is valid. Written back, the member is missing, by which it is found.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cloudcoil==0.6.0 cloudcoil.models.keda==2.16.1.0
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from cloudcoil.models.keda.v1alpha1 import ScaledObject

print("cloudcoil", version("cloudcoil"), "cloudcoil.models.keda", version("cloudcoil.models.keda"))
manifest = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": {"name": "web"},
    "spec": {
        "scaleTargetRef": {"name": "web"},
        "minReplicaCuont": 2,
        "triggers": [{"type": "cpu", "metadata": {"value": "50"}, "metricTyp": "Utilization"}],
    },
}
written = ScaledObject.model_validate(manifest).model_dump(by_alias=True, exclude_unset=True, mode="json")
print("taken without an error; written back:", written["spec"])
assert "minReplicaCuont" not in written["spec"]
assert "metricTyp" not in written["spec"]["triggers"][0]
PYTHON
