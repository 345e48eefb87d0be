#!/usr/bin/env bash
# Every way to use the service with curl.   examples/curl.sh PICTURE [SERVER]
# Writes restored.png, residual.png, steps.png, answer.json, generated.png, sheet.png and later.png into the current folder.
set -euo pipefail
picture=${1:?usage: examples/curl.sh PICTURE [SERVER]}
server=${2:-http://127.0.0.1:8000}
key=()
[ -n "${RDDM_API_KEY:-}" ] && key=(-H "Authorization: Bearer $RDDM_API_KEY")
ask() { curl --silent --show-error --fail-with-body "${key[@]}" "$@"; }

echo '# What can the server do?'
ask "$server/models"; echo

echo '# A picture in, a picture out; the headers tell model, steps, seed and time.'
ask -F "image=@\"$picture\"" -D - -o restored.png "$server/restore?format=png" | grep -iE '^(x-model|x-steps|x-seed|server-timing):'

echo '# The picture as the body itself, and what the model took away from it.'
ask -H 'Content-Type: application/octet-stream' --data-binary "@$picture" -o residual.png "$server/restore?return=residual"

echo '# Every state from the start of the diffusion to the result, side by side.'
ask -F "image=@\"$picture\"" -o steps.png "$server/restore?return=steps&steps=3&seed=1"

echo '# JSON in and out: pictures are base64.'
{ printf '{"image": "'; base64 < "$picture" | tr -d '\n'; printf '", "steps": 2, "format": "webp"}'; } |
  ask -H 'Content-Type: application/json' -H 'Accept: application/json' --data-binary @- -o answer.json "$server/restore"
cut -c 1-60 answer.json | head -n 1

echo '# Progress: one event per step, with a preview, then the result.'
ask --no-buffer -H 'Accept: text/event-stream' -F "image=@\"$picture\"" "$server/restore?steps=3&seed=2" | grep '^event:'

echo '# Pictures out of noise: one from a seed, and a sheet of nine.'
ask -X POST -o generated.png "$server/generate?seed=7"
ask -X POST -o sheet.png "$server/generate?seed=7&n=9&grid=true"

echo '# Work in the background: hand it in, follow it, fetch it. Sent twice with one idempotency key, it is one job.'
job=$(ask -H 'Prefer: respond-async' -H "Idempotency-Key: $(date +%s)-$$" -F "image=@\"$picture\"" "$server/restore?format=png&seed=3" |
  sed 's/.*"id": *"\([^"]*\)".*/\1/')
ask --no-buffer "$server/jobs/$job/events" | grep '^event:'
ask -o later.png "$server/jobs/$job/result"

echo '# What goes wrong is named: problem+json with the value and what is allowed.'
curl --silent --show-error "${key[@]}" -F "image=@\"$picture\"" "$server/restore?steps=1000"; echo
