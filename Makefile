# Two commands for a newcomer: `make caption`, `make test`. Each does its own set-up, once.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready
LABEL  := $(VENV)/.ready-label
SLICER := $(VENV)/.ready-slicer
DEPLOY := .venv-deploy
BUNDLE := bundle
export PYTHONPATH := $(BUNDLE)
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false
export PIP_DISABLE_PIP_VERSION_CHECK := 1
SAMPLES := runs/samples
IMAGE  ?= $(SAMPLES)
OUTPUT ?= runs/caption
# Minutes that the loaded captioner stays for the next `make caption`; 0: it ends at once.
RESIDENT ?= 5

STUDIES ?= $(SAMPLES)
PORT    ?= 8000
DEMO_PORT ?= 8765

.PHONY: help setup caption demo label deploy-setup deploy test test-all starter ablation bench package zoo fuzz lint clean

help:
	@echo "make caption [IMAGE=path]   describe the sample images, or your file or folder (RESIDENT=0: leave no process behind)"
	@echo "make demo                   the page in your browser: drop an image, read its caption (DEMO_PORT=8765)"
	@echo "make deploy STUDY=folder    MONAI Deploy application: DICOM study in, DICOM SR out (3 GB set-up, in .venv-deploy)"
	@echo "make label [STUDIES=path]   MONAI Label on 127.0.0.1: caption, correct and learn from a folder or DICOMweb URL"
	@echo "make test                   run the test suite"
	@echo "make starter DATA=folder    train the shipped checkpoint again (stage 1, stage 2)"
	@echo "make ablation DATA=folder   what each branch, token layout and stage brings, three seeds each (a night)"
	@echo "make bench                  run all benchmarks"
	@echo "make package                build dist/*.zip for a model zoo, MONAI Label or MONAI Deploy"
	@echo "make zoo [URL=address]      the folder for a pull request to MONAI's model zoo, in dist/zoo"

setup: $(READY)

$(READY): requirements.txt requirements-dev.txt tools/debian.sh tools/command_line_hook.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Python 3.11 is needed, found $$($(PYTHON) --version): call make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "Installing packages into $(VENV) (once, some minutes) ..."
	@$(PY) -m pip install -q torch==2.13.0
	@$(PY) -m pip install -q -r requirements.txt -r requirements-dev.txt
	@$(PY) tools/command_line_hook.py $(BUNDLE) >/dev/null
	@sh tools/debian.sh
	@command -v npm >/dev/null 2>&1 && npm install --silent --no-audit --no-fund --prefix $(VENV)/axe axe-core@4.14.1 >/dev/null 2>&1 || \
		echo "Optional, not installed: axe-core (npm), with which tests look at the page's accessibility"
	@touch $@

# MONAI Label's own requirements would replace numpy and torch: what it needs is pinned in our file, itself comes without.
$(LABEL): $(READY) integrations/monailabel/requirements.txt
	@echo "Installing MONAI Label into $(VENV) (once) ..."
	@$(PY) -m pip install -q -r integrations/monailabel/requirements.txt
	@$(PY) -m pip install -q --no-deps monailabel==0.8.5
	@touch $@

# All of 3D Slicer that needs no Qt, for the tests of its extension.
$(SLICER): $(READY) integrations/slicer/requirements-test.txt
	@$(PY) -m pip install -q -r integrations/slicer/requirements-test.txt
	@touch $@

# An environment of its own: the SDK brings CUDA libraries and native code that nothing else here needs.
deploy-setup: $(DEPLOY)/.ready

$(DEPLOY)/.ready: requirements.txt integrations/deploy/requirements.txt
	@test -x $(DEPLOY)/bin/python || $(PYTHON) -m venv $(DEPLOY)
	@echo "Installing the MONAI Deploy App SDK into $(DEPLOY) (once, 3 GB) ..."
	@$(DEPLOY)/bin/python -m pip install -q torch==2.13.0
	@$(DEPLOY)/bin/python -m pip install -q -r requirements.txt -r integrations/deploy/requirements.txt
	@touch $@

deploy: $(DEPLOY)/.ready package
	@test -n "$(STUDY)" || { echo "make deploy STUDY=folder (with DICOM files)"; exit 1; }
	@mkdir -p runs/deploy
	@ulimit -s 32768 2>/dev/null; $(DEPLOY)/bin/python integrations/deploy/app.py --input "$(STUDY)" --output runs/deploy \
		--model "$$(ls -t dist/*.zip | head -n 1)"

demo: $(READY) $(SAMPLES)/.ready
	@$(PY) -m scripts.commands.serve --root $(SAMPLES) --port $(DEMO_PORT) --open

label: $(LABEL) $(SAMPLES)/.ready
	@$(PY) integrations/monailabel/serve.py --studies "$(STUDIES)" --port $(PORT)

$(SAMPLES)/.ready: $(READY) $(BUNDLE)/scripts/commands/samples.py
	@$(PY) -m scripts.commands.samples $(SAMPLES) && touch $@

caption: $(READY) $(SAMPLES)/.ready
	@image="$(IMAGE)"; test -e "$${image%::series}" || { echo "IMAGE=$(IMAGE) does not exist: give a file or a folder of images"; exit 1; }
	@$(PY) -m scripts.commands.caption "$(IMAGE)" --output_dir "$(OUTPUT)" --resident $(RESIDENT)

# Two processes, a file to each at a time: files share servers and trained runs within.
test: $(READY) $(LABEL) $(SLICER)
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --max-worker-restart 0

test-all: $(READY) $(LABEL) $(SLICER)
	@OMP_NUM_THREADS=1 $(PY) -m pytest -m "slow or not slow" --timeout 3600

starter: $(READY)
	@test -n "$(DATA)" || { echo "make starter DATA=folder (with datalist.json and its images)"; exit 1; }
	@PYTHON=$(PY) BUNDLE=$(BUNDLE) sh tools/starter.sh "$(DATA)"

# Tokens that `make starter` has cached are used; ABLATION holds further options, such as --pretrain_epochs 2.
FEATURES ?= runs/starter/features
ablation: $(READY)
	@test -n "$(DATA)" || { echo "make ablation DATA=folder (with datalist.json and its images)"; exit 1; }
	@$(PY) studies/ablation/run.py "$(DATA)" --features "$(FEATURES)" $(ABLATION)

bench: $(READY)
	@$(PY) benchmarks/run_all.py

package: $(READY)
	@$(PY) tools/package.py $(BUNDLE) dist

# URL: where large_files/ will be uploaded to. Without it the zoo's checks fetch from dist/zoo itself.
zoo: $(READY)
	@$(PY) tools/zoo/write.py $(BUNDLE) dist/zoo $(if $(URL),--url "$(URL)")

fuzz: $(READY)
	@$(PY) tests/reading/fuzzing.py --count 2000 --structured 20000 --seed 0 --keep runs/fuzz

lint: $(READY)
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

clean:
	rm -rf runs dist .pytest_cache .ruff_cache
