#!/usr/bin/env bash
# hypothesis 6.170.15 asks gc.get_referrers whether a registered random generator will live. trio 0.35.0 registers its own by an entry
# point that hypothesis calls as it is imported. After gc.freeze(), as servers call it once they have started, the collector sees none of
# the objects that refer to it, so importing hypothesis warns (HypothesisWarning) that trio's generator "could be garbage collected
# immediately", though trio's module holds it. Without the freeze, or with hypothesis imported before it, there is no warning. In a test
# run whose warnings are errors, a server that is started in the process before hypothesis is imported ends the run at its summary.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check hypothesis==6.170.15 trio==0.35.0
check() { # WORDS EXPECTED CODE: how many warnings of hypothesis the code gives
    local seen
    seen=$("$work/venv/bin/python" - <<PY
import gc, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    $3
print(sum(one.category.__name__ == "HypothesisWarning" and "register_random" in str(one.message) for one in caught))
PY
)
    echo "hypothesis 6.170.15, trio 0.35.0, $1: $seen warnings"
    [ "$seen" = "$2" ]
}
check "trio, then hypothesis" 0 "import trio; import hypothesis"
check "hypothesis, trio, then a freeze" 0 "import hypothesis, trio; gc.freeze()"
check "trio, a freeze, then hypothesis" 1 "import trio; gc.freeze(); import hypothesis"
