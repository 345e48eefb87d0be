#!/usr/bin/env bash
# standardwebhooks 1.1.0: Webhook.sign takes a datetime and reads its wall clock as UTC, whatever zone it has. A message that is signed at
# 12:00+02:00 is signed for 12:00 UTC, two hours later, and its receiver refuses it. And a secret may be any text: what is no base64 is
# dropped without a word, so that two secrets that differ sign alike.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check standardwebhooks==1.1.0
"$folder/venv/bin/python" - <<'PYTHON'
from datetime import UTC, datetime, timedelta, timezone
from importlib.metadata import version

from standardwebhooks import Webhook

print("standardwebhooks", version("standardwebhooks"))
webhook = Webhook("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
now = datetime.now(UTC)
same_moment = now.astimezone(timezone(timedelta(hours=2)))
assert now == same_moment
print("one moment in two zones, signed alike:", webhook.sign("id", now, "{}") == webhook.sign("id", same_moment, "{}"))
assert webhook.sign("id", now, "{}") != webhook.sign("id", same_moment, "{}")
assert webhook.sign("id", same_moment, "{}") == webhook.sign("id", now + timedelta(hours=2), "{}")

first, second = Webhook("whsec_se-cret!"), Webhook("whsec_secret")
print("'se-cret!' and 'secret' sign alike:", first.sign("id", now, "{}") == second.sign("id", now, "{}"))
assert first.sign("id", now, "{}") == second.sign("id", now, "{}")
PYTHON
