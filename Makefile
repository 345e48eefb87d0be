# make run    restore pictures: creates .venv, installs what serving needs (no torch), starts the gateway on 127.0.0.1:8000
# make test   creates .venv-test, installs what the tests need, runs them all
# make check  ruff, mypy --strict, import-linter, compose file and Dockerfiles
SHELL := /bin/bash
.DELETE_ON_ERROR:
PYTHON ?= python3
PORT ?= 8000
RUN := .venv/bin
TEST := .venv-test/bin
PIP_FLAGS := --disable-pip-version-check --quiet --constraint constraints.txt

.PHONY: run run-triton test check system-packages clean

run: .venv/.installed
	$(RUN)/rddm serve --port $(PORT)

run-triton: .venv/.installed
	$(RUN)/python -m docker.triton.run --port $(PORT)

test: .venv-test/.installed system-packages
	$(TEST)/python -m pytest

check: .venv-test/.installed system-packages
	$(TEST)/ruff check .
	$(TEST)/ruff format --check .
	$(TEST)/mypy
	$(TEST)/lint-imports
	$(TEST)/python -m pytest -q -p no:cacheprovider tests/test_deployment.py

system-packages:
	tests/system_packages.sh

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(RUN)/python -m pip install $(PIP_FLAGS) --editable '.[cpu]'
	touch $@

.venv-test/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-test
	$(TEST)/python -m pip install $(PIP_FLAGS) --editable '.[cpu,train,test]'
	touch $@

clean:
	rm -rf .venv .venv-test .venv-triton dist build .pytest_cache .mypy_cache .ruff_cache
