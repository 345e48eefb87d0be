# The gateway with the models that ship. EXTRA=cpu runs them in-process on ONNX Runtime; EXTRA=gpu adds torch and CUDA shared memory.
FROM python:3.13-slim-trixie AS build
ARG EXTRA=cpu
WORKDIR /build
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY rddm rddm
COPY training training
COPY export export
COPY service service
COPY model_repository model_repository
RUN python -m venv /opt/rddm \
 && /opt/rddm/bin/pip install --no-cache-dir --constraint constraints.txt ".[${EXTRA},postgres,triton]"

FROM python:3.13-slim-trixie
COPY --from=build /opt/rddm /opt/rddm
COPY model_repository /models
# A named volume takes the owner of what it is mounted over.
RUN mkdir /state && chown 10001:10001 /state
ENV PATH=/opt/rddm/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 RDDM_MODEL_REPOSITORY=/models
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["rddm"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
