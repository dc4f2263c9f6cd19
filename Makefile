# Two commands hold the whole system: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := $(shell grep '^torch==' constraints.txt)
export RAY_USAGE_STATS_ENABLED = 0

.PHONY: demo test test-slow setup check format clean peers $(addprefix bench-,corpus trainer serving evaluation agents clusters)

demo: setup  ## run the whole chain, small and real
	$(BIN)/inkstone run recipes/demo.yaml

test: setup  ## all tests but the slow ones
	$(BIN)/python -m pytest

test-slow: setup  ## the slow tests: kill matrices, browsers, clusters of several nodes
	$(BIN)/python -m pytest -m slow

setup: $(READY)  ## make the virtual environment

# torch by its exact pin first, from whatever index pip is set to: asked for later, pip
# might take a build with gigabytes of libraries for accelerators that are not there.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Inkstone needs Python 3.11 or newer: make setup PYTHON=/path/to/python3.11'; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo 'python cannot make virtual environments; on Debian: apt install python3-venv'; exit 1; }
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt pip setuptools wheel ninja
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt $(TORCH)
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[test]'
	@touch $(READY)

check: setup  ## lint, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-%: setup  ## run a room's benchmarks and keep their JSON
	@test -d benchmarks/$* || { echo 'benchmarks/$*: no benchmarks yet'; exit 1; }
	@for script in $(filter-out %/__init__.py,$(wildcard benchmarks/$*/*.py)); do \
		echo "$$script"; $(BIN)/python -m $$(echo $${script%.py} | tr / .) || exit 1; done
	$(BIN)/python -m benchmarks.report

peers:  ## the environment of the peers that benchmarks compare with
	test -x .peers/bin/python || $(PYTHON) -m venv .peers
	.peers/bin/pip install -q --disable-pip-version-check -r benchmarks/peers.txt

clean:  ## remove what runs made; the environment stays
	rm -rf runs store
