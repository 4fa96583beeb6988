# Two commands for a newcomer: `make caption`, `make test`. Each does its own set-up, once.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
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

TARGETS := $(shell sed -n 's/^\([a-z-]*\):.*\#\#.*/\1/p' $(firstword $(MAKEFILE_LIST)))
.PHONY: $(TARGETS)

# A target's line says behind two hashes what to type after its name, and what it does.
help: ## | this list
	@echo "make WHAT, where WHAT is one of:"
	@sed -n 's/^\([a-z-]*\):.*## *\([^|]*\)| */\1 \2|/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{printf "  %-24s %s\n", $$1, $$2}'

# Whoever failed has said why: which image is refused, which option is missing. "make: *** Error 1" after that would look
# like a crash, and make has no option against it: it ends by a signal that shells do not mention, with 141 for scripts.
QUIETLY_FAILED := { kill -PIPE $$PPID; exit 1; }

setup: $(READY) ## | install everything into .venv, once; the others do it too

$(READY): requirements.txt requirements-dev.txt tools/debian.sh tools/command_line_hook.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed, found $$($(PYTHON) --version): call make PYTHON=/path/to/python3.11" >&2; $(QUIETLY_FAILED); }
	@echo "Installing packages into $(VENV) (once, some minutes) ..."
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
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
deploy-setup: $(DEPLOY)/.ready ## | install the MONAI Deploy App SDK into .venv-deploy, once (3 GB)

$(DEPLOY)/.ready: requirements.txt integrations/deploy/requirements.txt
	@echo "Installing the MONAI Deploy App SDK into $(DEPLOY) (once, 3 GB) ..."
	@test -x $(DEPLOY)/bin/python || $(PYTHON) -m venv $(DEPLOY)
	@$(DEPLOY)/bin/python -m pip install -q torch==2.13.0
	@$(DEPLOY)/bin/python -m pip install -q -r requirements.txt -r integrations/deploy/requirements.txt
	@touch $@

deploy: $(DEPLOY)/.ready package ## STUDY=folder | MONAI Deploy application: DICOM study in, DICOM SR out, in runs/deploy
	@test -n "$(STUDY)" || { echo "make deploy STUDY=folder (with DICOM files)" >&2; $(QUIETLY_FAILED); }
	@mkdir -p runs/deploy
	@ulimit -s 32768 2>/dev/null; $(DEPLOY)/bin/python integrations/deploy/app.py --input "$(STUDY)" --output runs/deploy \
		--model "$$(ls -t dist/*.zip | head -n 1)"

demo: $(READY) ## | the page in your browser: drop an image, read its caption (DEMO_PORT=8765)
	@$(PY) -m scripts.commands.serve --port $(DEMO_PORT) --open || $(QUIETLY_FAILED)

label: $(LABEL) $(SAMPLES)/.ready ## [STUDIES=path] | MONAI Label on 127.0.0.1: caption, correct, learn; a folder or DICOMweb URL (PORT=8000)
	@$(PY) integrations/monailabel/serve.py --studies "$(STUDIES)" --port $(PORT)

$(SAMPLES)/.ready: $(READY) $(BUNDLE)/scripts/commands/samples.py
	@$(PY) -m scripts.commands.samples $(SAMPLES) && touch $@

caption: $(READY) $(SAMPLES)/.ready ## [IMAGE=path] | describe the sample images, or your file or folder (OUTPUT, RESIDENT=0)
	@image="$(IMAGE)"; test -e "$${image%::series}" || \
		{ echo "error: IMAGE=$(IMAGE) does not exist: give a file or a folder of images" >&2; $(QUIETLY_FAILED); }
	@$(PY) -m scripts.commands.caption "$(IMAGE)" --output_dir "$(OUTPUT)" --resident $(RESIDENT) || $(QUIETLY_FAILED)

# Two processes, a file to each at a time: files share servers and trained runs within. Those that start captioners run
# one after another, from the beginning (tests/conftest.py).
test: $(READY) $(LABEL) $(SLICER) ## | the test suite
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test-all: $(READY) $(LABEL) $(SLICER) ## | the test suite with its slow tests
	@OMP_NUM_THREADS=1 $(PY) -m pytest -m "slow or not slow" --timeout 3600

starter: $(READY) ## DATA=folder | train the shipped checkpoint again (stage 1, stage 2); of several: DATA="a b"
	@test -n "$(DATA)" || { echo "make starter DATA=folder (with datalist.json and its images; DATA=\"a b\" of several)" >&2; $(QUIETLY_FAILED); }
	@PYTHON=$(PY) BUNDLE=$(BUNDLE) sh tools/starter.sh "$(DATA)"

# Tokens that `make starter` has cached are used; ABLATION holds further options, such as --pretrain_epochs 2.
FEATURES ?= runs/starter/features
ablation: $(READY) ## DATA=folder | what each branch, token layout and stage brings, three seeds each (a night)
	@test -n "$(DATA)" || { echo "make ablation DATA=folder (with datalist.json and its images)" >&2; $(QUIETLY_FAILED); }
	@$(PY) studies/ablation/run.py "$(DATA)" --features "$(FEATURES)" $(ABLATION)

bench: $(READY) ## | all benchmarks
	@$(PY) benchmarks/run_all.py

package: $(READY) ## | dist/*.zip for MONAI Label, MONAI Deploy or a model zoo; the hub card in dist/hub
	@$(PY) tools/package.py $(BUNDLE) dist
	@$(PY) tools/hub_card.py dist/hub

# URL: where large_files/ will be uploaded to. Without it the zoo's checks fetch from dist/zoo itself.
zoo: $(READY) ## [URL=address] | the folder for a pull request to MONAI's model zoo, in dist/zoo
	@$(PY) tools/zoo/write.py $(BUNDLE) dist/zoo $(if $(URL),--url "$(URL)")

fuzz: $(READY) ## | damaged files against the readers
	@$(PY) tests/reading/fuzzing.py --count 2000 --structured 20000 --seed 0 --keep runs/fuzz

lint: $(READY) ## | ruff, as the tests want it
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

clean: ## | remove what runs and builds left: runs, dist, caches
	rm -rf runs dist .pytest_cache .ruff_cache
