# The NGC Triton image with this project's exporter beside it, so that `rddm export --tensorrt` builds plans where they will run.
ARG TRITON_IMAGE=nvcr.io/nvidia/tritonserver:26.09-py3
# hadolint ignore=DL3006
FROM ${TRITON_IMAGE}
WORKDIR /opt/project
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY rddm rddm
COPY training training
COPY export export
COPY service service
COPY model_repository model_repository
RUN python3 -m venv --system-site-packages /opt/rddm \
 && /opt/rddm/bin/pip install --no-cache-dir --constraint constraints.txt ".[cpu,plans]" \
 && mkdir -p /plans && chown 10001:10001 /plans
COPY docker/triton /opt/triton
ENV PATH=/opt/rddm/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
ENTRYPOINT ["/opt/triton/serve.sh"]
