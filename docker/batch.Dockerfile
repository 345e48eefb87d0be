# `rddm batch` on buckets, also on a Ray cluster: what the jobs of the Helm chart run. Ray's `default` is its dashboard, to which jobs are
# submitted.
FROM python:3.13-slim-trixie AS build
WORKDIR /build
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY rddm rddm
COPY training training
COPY export export
COPY service service
COPY model_repository model_repository
RUN python -m venv /opt/rddm \
 && /opt/rddm/bin/pip install --no-cache-dir --constraint constraints.txt ".[cpu,objects,parquet,ray]" "ray[default]"

FROM python:3.13-slim-trixie
COPY --from=build /opt/rddm /opt/rddm
COPY model_repository /models
ENV PATH=/opt/rddm/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 RDDM_MODEL_REPOSITORY=/models HOME=/tmp
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["rddm"]
CMD ["batch", "--help"]
