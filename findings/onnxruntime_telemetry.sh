#!/usr/bin/env bash
# onnxruntime 1.32 from PyPI collects telemetry on Linux too, by default. Importing it, without a session, writes an identifier of the
# machine and a queue of events to ~/.cache/Microsoft/DeveloperTools/.onnxruntime; the first event has the path of the interpreter, and
# the receiver's address is in the library. disable_telemetry_events() comes too late for both. ORT_DISABLE_TELEMETRY=1 before the import
# leaves nothing. In what looks like a CI run it is off, so tests there do not show it. 1.27.0 wrote nothing.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
for version in 1.27.0 1.32.0; do
    python3 -m venv "$work/$version"
    "$work/$version/bin/pip" install -q --disable-pip-version-check "onnxruntime==$version" numpy==2.4.6
done
home=$work/home folder=.cache/Microsoft/DeveloperTools/.onnxruntime
left() { # VERSION CODE [VARIABLE=VALUE]: the files that it leaves in an empty home
    rm -rf "$home"; mkdir "$home"
    env -i PATH="$PATH" HOME="$home" ${3:-} "$work/$1/bin/python" -c "$2"
    find "$home" -type f | sed "s#$home/##" | sort | tr '\n' ' '
}
check() { # WORDS EXPECTED ACTUAL
    echo "$1: ${3:-nothing}"
    [ "$2" = "$3" ]
}
written="$folder/deviceid $folder/onnxruntime.db "
import="import onnxruntime"
check "1.27.0, imported" "" "$(left 1.27.0 "$import")"
check "1.32.0, imported, ORT_DISABLE_TELEMETRY=1" "" "$(left 1.32.0 "$import" ORT_DISABLE_TELEMETRY=1)"
check "1.32.0, imported, CI=true" "" "$(left 1.32.0 "$import" CI=true)"
check "1.32.0, imported, disable_telemetry_events()" "$written" "$(left 1.32.0 "$import; onnxruntime.disable_telemetry_events()")"
check "1.32.0, imported" "$written" "$(left 1.32.0 "$import")"
"$work/1.32.0/bin/python" - "$home/$folder/onnxruntime.db" <<'PY'
import sqlite3, sys
(event,) = sqlite3.connect(sys.argv[1]).execute("select payload from events").fetchone()
print("the event is a ProcessInfo with the interpreter's path:", b"ProcessInfo" in event and sys.executable.encode() in event)
assert b"ProcessInfo" in event and sys.executable.encode() in event
PY
grep -qa "events.data.microsoft.com" "$work"/1.32.0/lib/python3*/site-packages/onnxruntime/capi/onnxruntime_pybind11_state*.so
