# make run    restore pictures: creates .venv, installs what serving needs (no torch), starts the gateway on 127.0.0.1:8000
# make test   creates .venv-test, installs what the tests need, runs them all
# make check  ruff, mypy --strict for Linux, macOS and Windows, import-linter, compose file and Dockerfiles
# make chart  lints the Helm chart, renders every combination of values, checks every manifest against the Kubernetes API
# make policy checkov's rules on the rendered chart; installs checkov into .venv-policy
# make lock   constraints.txt anew: one version of each package for each Python; needs uv. UPGRADE=--upgrade takes newer versions
SHELL := /bin/bash
.DELETE_ON_ERROR:
PYTHON ?= python3
PORT ?= 8000
RUN := .venv/bin
TEST := .venv-test/bin
# one more than the cores of the machine that the project is tested on: tests also wait, for servers, browsers and time to pass
TEST_PROCESSES ?= 3
# real servers, some of which ended by themselves (lock_exception) beside others: alone, after the others
TRITON_TESTS := tests/service/engines/triton tests/test_triton_behind_gateway.py
PIP_FLAGS := --disable-pip-version-check --quiet --constraint constraints.txt

.PHONY: run run-triton test check chart policy lock system-packages clean

run: .venv/.installed
	$(RUN)/rddm serve --port $(PORT)

run-triton: .venv/.installed-triton
	$(RUN)/python -m docker.triton.run --port $(PORT)

# empty is unset: else every one of the hundreds of processes that tests start compiles the modules anew
test: export PYTHONDONTWRITEBYTECODE =
test: .venv-test/.installed .venv-test/bin/helm system-packages
	$(TEST)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile $(addprefix --ignore=,$(TRITON_TESTS))
	$(TEST)/python -m pytest $(TRITON_TESTS)

check: .venv-test/.installed system-packages
	$(TEST)/ruff check .
	$(TEST)/ruff format --check .
	$(TEST)/mypy
	$(TEST)/mypy --platform darwin --cache-dir .mypy_cache/darwin
	$(TEST)/mypy --platform win32 --cache-dir .mypy_cache/win32
	$(TEST)/lint-imports
	$(TEST)/python -m pytest -q -p no:cacheprovider tests/test_deployment.py

chart: .venv-test/.installed .venv-test/bin/helm
	$(TEST)/python -m pytest -q -p no:cacheprovider tests/test_chart.py

# Passed over: a digest and the pull policy are the values' (43, 15); Triton's readiness decides nothing, jobs and init containers have no
# probes (8, 9); Triton uses what CPU is free (11); the pod of `helm test` lives for seconds (CKV2_K8S_6).
policy: .venv-policy/.installed .venv-test/bin/helm
	rm -rf build/chart && mkdir -p build/chart
	for values in docker/helm/examples/*.yaml; do \
	    $(TEST)/helm template rddm docker/helm --namespace pictures --values "$$values" \
	        | sed 's/^metadata:$$/metadata:\n  namespace: pictures/' > "build/chart/$$(basename "$$values")"; \
	done
	.venv-policy/bin/checkov --framework kubernetes --skip-download --quiet --compact --directory build/chart \
	    --skip-check CKV_K8S_43,CKV_K8S_15,CKV_K8S_8,CKV_K8S_9,CKV_K8S_11,CKV2_K8S_6

lock:
	uv pip compile pyproject.toml client/pyproject.toml --all-extras --universal --python-version 3.11 --no-annotate --quiet \
	    --custom-compile-command "make lock" --output-file constraints.txt $(UPGRADE)

system-packages:
	tests/system_packages.sh

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(RUN)/python -m pip install $(PIP_FLAGS) --editable '.[cpu]'
	touch $@

.venv/.installed-triton: .venv/.installed
	$(RUN)/python -m pip install $(PIP_FLAGS) --editable '.[cpu,triton]'
	touch $@

.venv-test/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-test
	$(TEST)/python -m pip install $(PIP_FLAGS) --editable '.[cpu,train,postgres,test]'
	touch $@

.venv-test/bin/helm: tests/install_helm.py .venv-test/.installed
	$(TEST)/python tests/install_helm.py $@

.venv-policy/.installed: Makefile
	$(PYTHON) -m venv .venv-policy
	.venv-policy/bin/python -m pip install --disable-pip-version-check --quiet checkov==3.3.30
	touch $@

clean:
	rm -rf .venv .venv-test .venv-triton .venv-triton.lock .venv-policy dist build .pytest_cache .mypy_cache .ruff_cache
