# Each target is one command that can be typed as well; see README.md.
PYTHON ?= python3
PIP = .venv/bin/python -m pip install --disable-pip-version-check --constraint requirements.lock

.PHONY: run test test-all test-cluster mutants bench reproduce lint docs lock clean

run: .venv/installed
	.venv/bin/snakemake --cores all

# One thread each, since as many tests run side by side as there are cores.
PYTEST = OMP_NUM_THREADS=1 .venv/bin/python -m pytest --cov --numprocesses auto --dist loadfile \
    --no-loadscope-reorder

test: .venv/installed-test
	$(PYTEST)

# The largest matrices and the fuzzers in full as well.
test-all: .venv/installed-test
	$(PYTEST) -m 'not cluster' --hypothesis-profile=all

# Slurm, several hosts; needs root. Everything it starts ends with it.
test-cluster: .venv/installed-test
	command -v slurmctld slurmd munged ip >/dev/null || (apt-get update -qq && \
	    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
	    install -y -qq --no-install-recommends slurm-wlm munge iproute2 >/dev/null)
	.venv/bin/python -m pytest -m cluster tests/cluster

# Does a test fail when a fault is put into the code? At most an hour; run again, it goes on. See tests/mutants.py.
mutants: .venv/installed-mutants
	.venv/bin/python -m tests.mutants $(MODULES)

# NANOGPT=PATH, a checkout of nanoGPT, adds a comparison of quality, which takes half an hour.
bench: .venv/installed-test
	.venv/bin/python -m benchmarks
	$(if $(NANOGPT),.venv/bin/python -m benchmarks quality "$(NANOGPT)")

# Runs again what made the results in a folder, and compares: make reproduce CRATE=results/movie-reviews
reproduce: .venv/installed
	.venv/bin/charlm reproduce $(CRATE)

lint: .venv/installed-lint
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/snakefmt --check Snakefile workflow
	.venv/bin/mypy
	.venv/bin/snakemake --lint

# The generated schema and reference of the configuration.
docs: .venv/installed
	.venv/bin/python -m charlm.pipeline.config_reference

# New pins of all that pyproject.toml allows; `make lock UPGRADE=--upgrade` takes the newest.
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
