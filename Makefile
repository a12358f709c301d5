# make demo    trains a model on this machine, end to end       make test    every test
# Needs Python 3.11 or newer with venv, and the package index once. Nothing else: no Docker, no root, no AWS account.
#
#   PYTHON=python3.12     which Python makes .venv
#   DOCUMENT=path.yml     which document `make demo` runs; its inputs are those of examples/sagemaker/inputs.json

PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done || true)
EXAMPLE := examples/sagemaker
DOCUMENT ?= $(EXAMPLE)/train-and-poll-job.arazzo.yaml
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-container test-ray test-gpu test-sdk storm check bench bench-peers docs clean

help: ## Show this.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

# A job's name can be used once. Every command is shown before it runs, so the demo can be repeated by hand.
demo: .venv/.demo ## Train a model with the main job on the embedded training service.
	@set -eu; \
	PATH="$(CURDIR)/$(BIN):$$PATH"; TREADLE_HOME="$${TREADLE_HOME:-$(CURDIR)/.demo}"; export PATH TREADLE_HOME; \
	job="digits-$$(date +%Y%m%d-%H%M%S)-$$$$"; \
	model="$$TREADLE_HOME/s3/treadle-example/output/$$job/output/model.tar.gz"; \
	say() { \
		printf '\n$$'; \
		for word; do case $$word in *[!A-Za-z0-9_/.:=,-]*) printf " '%s'" "$$word";; *) printf ' %s' "$$word";; esac; done; \
		echo; "$$@"; \
	}; \
	say treadle images add $(EXAMPLE)/image; \
	say treadle data put $(EXAMPLE)/data/train.csv s3://treadle-example/digits/train/; \
	say treadle data put $(EXAMPLE)/data/validation.csv s3://treadle-example/digits/validation/; \
	say treadle run "$(DOCUMENT)" --on local --inputs $(EXAMPLE)/inputs.json -i "trainingJobName=$$job" \
		--expect 'trainingJobStatus == "Completed"'; \
	printf '\nThe trained model on its validation data, from the log of the job (treadle jobs logs %s):\n' "$$job"; \
	treadle jobs logs "$$job" | grep 'validation:accuracy' | tail -n 1; \
	test -f "$$model"; printf '\nThe model on this disk:\n%s\n' "$$model"; \
	say python $(EXAMPLE)/predict.py "$$model"

test: .venv/.dev ## Run every test.
	$(BIN)/python -m pytest

# They are part of `make test`, too, where an engine is installed. TREADLE_TEST_ENGINE=docker tries them with dockerd.
test-container: .venv/.dev ## Run the tests that need a container engine (root, and Podman's packages).
	$(BIN)/python -m pytest -m container tests/contracts tests/containers tests/cli/test_images.py

# They are part of `make test`, too, where there is a GPU. TREADLE_TEST_TORCH=/path/to/python names a Python that has
# PyTorch for CUDA, which is not installed here.
test-gpu: .venv/.dev ## Run the tests that need an NVIDIA GPU.
	$(BIN)/python -m pytest -m gpu tests/gpu

# Several hundred MB are installed, once; so this is neither part of `make test` nor of what is run for every change. A file
# has a process of its own: the SDKs remember the first service that they meet.
test-sdk: .venv/.dev .venv-sdk2/.made .venv-sdk3/.made .venv-toolkit/.made .venv-airflow/.made .venv-peers/.made ## Run the tests with the real SageMaker SDKs and toolkit, Airflow and moto.
	.venv-sdk2/bin/python -m pytest -c tests_sdk/pytest.ini tests_sdk/test_v2.py
	.venv-sdk2/bin/python -m pytest -c tests_sdk/pytest.ini tests_sdk/test_v2_options.py
	.venv-sdk3/bin/python -m pytest -c tests_sdk/pytest.ini tests_sdk/test_v3.py
	.venv-sdk3/bin/python -m pytest -c tests_sdk/pytest.ini tests_sdk/test_v3_options.py
	.venv-toolkit/bin/python -m pytest -c tests_sdk/pytest.ini tests_sdk/test_toolkit.py
	.venv-airflow/bin/python -m pytest -c tests_sdk/pytest.ini tests_sdk/test_airflow.py
	$(BIN)/python -m pytest tests/end_to_end/test_another_server.py

# A cluster of network namespaces; Ray is 290 MB, installed once. The namespace that the tests begin in goes with them.
test-ray: .venv-ray/.made ## Run the tests with a real Ray cluster (root, Linux).
	unshare --net sh -c 'ip link set lo up && exec .venv-ray/bin/python -m pytest -m ray tests/contracts tests/ray'

# Twenty minutes, or so many seconds: make storm SECONDS=300. The tests have a short one.
storm: .venv/.dev ## Kill services, agents and programs at random while jobs run; nothing may be lost.
	$(BIN)/python -m tests.end_to_end.storm $(or $(SECONDS),1200)

check: .venv/.dev ## Lint, format, types, import layers.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/.dev ## Run every code block of README.md, docs/ and the docstrings.
	$(BIN)/python -m pytest tests/docs

# moto and other runners of Arazzo, for those lines of `make bench` that stand beside them; 400 MB, in an environment of
# their own.
bench-peers: .venv-peers/.made ## Install the peers that `make bench` measures, too.

bench: .venv/.dev ## Measure the engine beside its floor.
	$(BIN)/python -m bench

clean: ## Remove what was installed, built and trained here.
	rm -rf .venv .venv-airflow .venv-peers .venv-ray .venv-sdk2 .venv-sdk3 .venv-toolkit .demo build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -prune -exec rm -rf {} +

# The stamps stand inside .venv and are younger than what they depend on; so a second run installs nothing and needs no
# network.
.venv/.made:
	@test -n "$(PYTHON)" || { echo "Treadle needs Python 3.11 or newer, and none was found on the PATH."; \
		echo "Name one: make PYTHON=/path/to/python3.12"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Treadle needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
		echo "Name another one: make PYTHON=/path/to/python3.12"; exit 2; }
	@$(PYTHON) -m venv .venv || { echo "$(PYTHON) cannot make .venv: on Debian and Ubuntu, install python3-venv."; exit 2; }
	@touch $@

.venv/.demo: .venv/.made pyproject.toml constraints.txt
	$(INSTALL) -e '.[training,algorithms]'
	@touch $@

.venv/.dev: .venv/.made pyproject.toml constraints.txt
	$(INSTALL) -e '.[training,algorithms,dev]'
	@touch $@ .venv/.demo

.venv-ray/.made: pyproject.toml constraints.txt | .venv/.made
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[training,algorithms,ray,dev]'
	@touch $@

.venv-peers/.made: | .venv/.made
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check 'moto[server]' arazzo-runner
	if command -v npm >/dev/null; then npm install --silent --no-save --prefix $(@D)/node @redocly/cli; fi
	@touch $@

.venv-sdk2/.made: SDK := sagemaker<3
.venv-sdk3/.made: SDK := sagemaker>=3
# It has a part in C: a compiler is needed.
.venv-toolkit/.made: SDK := sagemaker-training
.venv-airflow/.made: SDK := apache-airflow-providers-amazon
.venv-sdk2/.made .venv-sdk3/.made .venv-toolkit/.made .venv-airflow/.made: | .venv/.made
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check '$(SDK)' boto3 pytest
	@touch $@
