# Two commands for a newcomer: `make caption`, `make test`. Each does its own set-up, once.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready
BUNDLE := bundle
RUN    := $(PY) -m monai.bundle run --bundle_root $(BUNDLE) --logging_file $(BUNDLE)/configs/logging.conf
export PYTHONPATH := $(BUNDLE)
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false
export PIP_DISABLE_PIP_VERSION_CHECK := 1
SAMPLES := runs/samples
IMAGE  ?= $(SAMPLES)
OUTPUT ?= runs/caption

.PHONY: help setup caption test test-all starter bench package fuzz lint clean

help:
	@echo "make caption [IMAGE=path]   describe the sample images, or your file or folder"
	@echo "make test                   run the test suite"
	@echo "make starter DATA=folder    train the shipped checkpoint again (stage 1, stage 2)"
	@echo "make bench                  run all benchmarks"
	@echo "make package                build dist/*.zip for a model zoo, MONAI Label or MONAI Deploy"

setup: $(READY)

$(READY): requirements.txt requirements-dev.txt tools/debian.sh
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Python 3.11 is needed, found $$($(PYTHON) --version): call make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "Installing packages into $(VENV) (once, some minutes) ..."
	@$(PY) -m pip install -q torch==2.13.0
	@$(PY) -m pip install -q -r requirements.txt -r requirements-dev.txt
	@sh tools/debian.sh
	@touch $@

$(SAMPLES)/.ready: $(READY) $(BUNDLE)/scripts/samples.py
	@$(PY) -m scripts.samples $(SAMPLES) && touch $@

caption: $(READY) $(SAMPLES)/.ready
	@test -e "$(IMAGE)" || { echo "IMAGE=$(IMAGE) does not exist: give a file or a folder of images"; exit 1; }
	@$(RUN) --config_file $(BUNDLE)/configs/inference.json --dataset_dir "$(IMAGE)" --output_dir "$(OUTPUT)"

test: $(READY)
	@OMP_NUM_THREADS=1 $(PY) -m pytest

test-all: $(READY)
	@OMP_NUM_THREADS=1 $(PY) -m pytest -m "slow or not slow" --timeout 3600

starter: $(READY)
	@test -n "$(DATA)" || { echo "make starter DATA=folder (with datalist.json and its images)"; exit 1; }
	@PYTHON=$(PY) BUNDLE=$(BUNDLE) sh tools/starter.sh "$(DATA)"

bench: $(READY)
	@$(PY) benchmarks/run_all.py

package: $(READY)
	@$(PY) tools/package.py $(BUNDLE) dist

fuzz: $(READY)
	@$(PY) tests/reading/fuzzing.py --count 2000 --seed 0 --keep runs/fuzz

lint: $(READY)
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

clean:
	rm -rf runs dist .pytest_cache .ruff_cache
