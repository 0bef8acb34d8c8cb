# Each target runs a command that you can also type; see README.md and CONTRIBUTING.md.
PYTHON ?= python3
PIP = .venv/bin/python -m pip install --disable-pip-version-check --constraint requirements.lock

.PHONY: run test test-all test-cluster mutants bench reproduce lint docs lock clean

run: .venv/installed
	.venv/bin/snakemake --cores all

# One thread per test process, because there are as many of these as cores.
PYTEST = OMP_NUM_THREADS=1 .venv/bin/python -m pytest --cov --numprocesses auto --dist loadfile \
    --no-loadscope-reorder

test: .venv/installed-test
	$(PYTEST)

# Also the largest matrices of cases, and the fuzzers in full.
test-all: .venv/installed-test
	$(PYTEST) -m 'not cluster' --hypothesis-profile=all

# Tests with Slurm and with several hosts. They need root, and stop all that they start.
test-cluster: .venv/installed-test
	command -v slurmctld slurmd munged ip >/dev/null || (apt-get update -qq && \
	    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
	    install -y -qq --no-install-recommends slurm-wlm munge iproute2 >/dev/null)
	.venv/bin/python -m pytest -m cluster tests/cluster

# Mutation testing, for at most an hour; the next run continues. See tests/mutants.py.
mutants: .venv/installed-mutants
	.venv/bin/python -m tests.mutants $(MODULES)

# NANOGPT=PATH, a checkout of nanoGPT, adds a comparison of quality, which takes half an hour.
bench: .venv/installed-test
	.venv/bin/python -m benchmarks
	$(if $(NANOGPT),.venv/bin/python -m benchmarks quality "$(NANOGPT)")

# Repeat the run that made a folder of results, and compare: make reproduce CRATE=results/movie-reviews
reproduce: .venv/installed
	.venv/bin/charlm reproduce $(CRATE)

lint: .venv/installed-lint
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/snakefmt --check Snakefile workflow
	.venv/bin/mypy
	.venv/bin/snakemake --lint

# Generate the schema and the reference of the configuration.
docs: .venv/installed
	.venv/bin/python -m charlm.pipeline.config_reference

# Pin the dependencies in pyproject.toml; `make lock UPGRADE=--upgrade` takes their newest versions.
lock: .venv/installed-lint
	.venv/bin/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	    --no-annotate --custom-compile-command "make lock" $(UPGRADE) -o requirements.lock
	(sed '/^ *- pip:$$/q' workflow/envs/charlm.yaml; sed -n 's/^[a-z]/      - &/p' requirements.lock) > .lock.tmp
	mv .lock.tmp workflow/envs/charlm.yaml

clean:
	rm -rf .venv .mutants .snakemake .mypy_cache .pytest_cache .ruff_cache

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) --editable '.[workflow]'
	touch $@

.venv/installed-test: .venv/installed
	$(PIP) --editable '.[workflow,test]'
	touch $@

.venv/installed-mutants: .venv/installed-test
	$(PIP) --editable '.[workflow,test,mutants]'
	touch $@

.venv/installed-lint: .venv/installed-test
	$(PIP) --editable '.[workflow,test,lint]'
	touch $@
