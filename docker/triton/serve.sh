#!/usr/bin/env bash
# Starts tritonserver in the container, on the repository of TensorRT plans if PLANS names the folder that holds them, else on MODELS.
# HTTP (health) and metrics stay on the container's loopback unless METRICS_ADDRESS says otherwise; gateways speak gRPC on 8001,
# at every address unless GRPC_ADDRESS names one.
set -euo pipefail
models=${MODELS:-/opt/project/model_repository}
# plans that are missing, or of other models, are an error and not a reason to serve something slower
repository=${PLANS:+$(rddm export --tensorrt "$models" -o "$PLANS" --where)}
# Gateways need inference, health, model control and shared memory; nobody knows the key for the rest.
key=$(head -c 32 /dev/urandom | sha256sum | cut -d ' ' -f 1)
exec tritonserver \
    --model-repository="${repository:-$models}" \
    --model-control-mode=explicit --load-model='*' --exit-on-error=false --strict-readiness=false \
    --grpc-address="${GRPC_ADDRESS:-0.0.0.0}" --grpc-port=8001 \
    --http-address=127.0.0.1 --http-port=8080 \
    --metrics-address="${METRICS_ADDRESS:-127.0.0.1}" --metrics-port=8002 \
    --allow-client-shm=true \
    --grpc-restricted-protocol="trace,logging:rddm=$key" \
    --exit-timeout-secs=55 "$@"
