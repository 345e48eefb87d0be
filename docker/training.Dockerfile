# Training on one GPU or several: `accelerate launch -m training.train RECIPE` on data and runs mounted at /data and /runs.
FROM python:3.13-slim-trixie
WORKDIR /opt/project
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY rddm rddm
COPY training training
COPY export export
COPY service service
COPY model_repository model_repository
RUN python -m venv /opt/rddm \
 && /opt/rddm/bin/pip install --no-cache-dir --constraint constraints.txt ".[cpu,train]"
ENV PATH=/opt/rddm/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 HOME=/tmp
USER 10001:10001
WORKDIR /runs
ENTRYPOINT ["accelerate", "launch"]
CMD ["-m", "training.train", "--help"]
