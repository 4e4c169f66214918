# The one place that says how the project is set up, run, tested and measured.
UV_VERSION := 0.13.9
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two for each core: a good part of the tests' time is spent waiting for services.
TEST_WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) * 2 )))
# Sluice's own defaults; a variable set by the caller wins.
CHECK ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install lock demo test lint bench clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Create .venv from the lock (Python 3.11 or newer)

# The stamp is written last: an interrupted installation is simply made again.
$(STAMP): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Sluice needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make install PYTHON=python3.12"; exit 1; }
	@rm -f $(STAMP)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements-dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

lock: install ## Compile the *.in files of requirements to hashed locks
	for name in requirements requirements-dev bench/peers/requirements bench/peers/singer; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url -o $$name.txt $$name.in || exit 1; \
	done

demo: install ## Run the main job on real data; CHECK=1 stops at the end and exits 0 only if the proof held
	$(BIN)/sluice demo $(if $(CHECK),--check) $(ARGS)

# In memory where there is plenty of it: the services under test write much, and all of it is thrown away.
test: install ## Run all tests (ARGS="-k name" to choose)
	@folder=$$([ "$$(df -Pk /dev/shm 2>/dev/null | awk 'END {print $$4}')" -gt 8000000 ] 2>/dev/null && mktemp -d /dev/shm/sluice-XXXXXX || mktemp -d); \
		trap 'rm -rf "$$folder"' EXIT; chmod 755 "$$folder"; \
		TMPDIR="$$folder" $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: install ## Check style, types and the compose file
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yaml

bench: install ## Run the benchmarks; results in bench/results/*.json
	$(BIN)/python -m bench $(ARGS)

clean: ## Remove the virtual environment and all local data
	rm -rf $(VENV) .sluice .pytest_cache .mypy_cache .ruff_cache .hypothesis
