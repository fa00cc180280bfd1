# Needs GNU make and Python 3.11 or newer, nothing else. Each target but colab first sets up .venv when it is missing, or
# when pyproject.toml or constraints.txt has changed since.
#
#   make replicate    the naive and a non-contrastive arm, small, on series that need no download: a table and a verdict
#   make replicate DATASET=ECG5000 METHOD=barlowtwins AUGMENTATION=slice SEED=2 PRESET=paper    one cell of the thesis' grid
#   make test         lint, types, tests, and every notebook run once: does it print what it printed when it was built?
#   make coverage     which lines of the package the tests run, without those marked slow
#   make notebooks    rebuild and execute every notebook from notebooks/src
#   make variants SEED=a-long-word    for teachers: exercises with other data and constants, without solutions; SOLUTIONS=1 writes those, too
#   make slides       for teachers: slides of two sessions, each one HTML file that needs no network
#   make bench        how long training takes on this machine
#   make mutants      does each exercise's check notice every small fault of its solution? (2 minutes; chapters: NN="02 05")
#   make speedrun     time from raw series to scores better than the thesis', on one core (records: benchmarks/RECORDS.md)
#   make colab        every chapter once with the versions that Google Colab has; best with PYTHON=python3.13, as there
#
# PYTHON names the interpreter that .venv is made with:  make PYTHON=python3.12 test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# One cell, where any of these is given on the command line (a variable of the environment does not count).
CELL_VARIABLES := DATASET METHOD AUGMENTATION SEED PRESET
ONE_CELL := $(strip $(foreach name,$(CELL_VARIABLES),$(if $(filter command,$(origin $(name))),$(name))))
DATASET := TwoPatternsGenerated
METHOD := regular
AUGMENTATION := $(if $(filter regular,$(METHOD)),none,gauss)
SEED := 1
PRESET := quick

# Built notebooks are the same on every machine: no local data, weights or preset, no GPU, one thread.
AS_BUILT := env -u NCVQVAE_DATA -u NCVQVAE_FCN -u NCVQVAE_PRESET -u NCVQVAE_RECORD CUDA_VISIBLE_DEVICES= \
  OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONHASHSEED=0

.PHONY: help replicate test coverage notebooks variants slides bench mutants speedrun colab
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   \(make\)/\1/p' Makefile

IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

$(STAMP): pyproject.toml constraints.txt
	@if ! $(BIN)/python -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then \
	  if ! $(PYTHON) -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then \
	    echo "ncvqvae-lite needs Python 3.11 or newer, but PYTHON=$(PYTHON) is '$$($(PYTHON) --version 2>&1 | head -n 1)':" \
	      "name another one, for example make PYTHON=python3.12" >&2; exit 1; \
	  fi; \
	  $(PYTHON) -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "Installing into $(VENV) (a few minutes the first time: torch is large)"
	@$(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check -c constraints.txt -e ".[notebooks,test]"
	@touch $(STAMP)

replicate: $(STAMP)
ifeq ($(ONE_CELL),)
	$(BIN)/ncvqvae demonstrate --notebook
else
	$(BIN)/ncvqvae replicate --dataset $(DATASET) --method $(METHOD) --augmentation $(AUGMENTATION) --seed $(SEED) \
	  --preset $(PRESET) --notebook
endif

# pyright, so set, does not look for a newer version of itself on the network. Files are tested in their order: else those of
# few tests come last, the slowest chapter among them, and one core waits.
test: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder tests
	OMP_NUM_THREADS=1 NCVQVAE_TYPES=1 $(BIN)/python -m pytest tests/test_shapes.py tests/test_fuzz.py -k "shapes or good_arguments"
	$(AS_BUILT) $(BIN)/python notebooks/tools/build.py --check
	out=$$(mktemp -d) && trap 'rm -rf "$$out"' EXIT && $(AS_BUILT) NCVQVAE_OUT="$$out" PYTHONPATH=notebooks/tools $(BIN)/python \
	  -m pytest -p mutate --nbval-lax --nbval-current-env --nbval-cell-timeout 900 -n 2 --dist loadscope \
	  --no-loadscope-reorder notebooks/*.ipynb notebooks/solutions/*.ipynb

coverage: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder -q -m "not slow" --cov ncvqvae_lite tests

notebooks: $(STAMP)
	$(AS_BUILT) $(BIN)/python notebooks/tools/draw.py
	$(AS_BUILT) $(BIN)/python notebooks/tools/build.py
	$(BIN)/python notebooks/tools/syllabus.py

variants: $(STAMP)
	$(if $(filter command,$(origin SEED)),,$(error which variants? Give a seed: make variants SEED=a-long-word))
	$(AS_BUILT) $(BIN)/python notebooks/tools/variants.py $(SEED) $(if $(SOLUTIONS),--solutions)

slides: $(STAMP)
	$(BIN)/python notebooks/tools/slides.py

bench: $(STAMP)
	$(BIN)/python benchmarks/bench.py

mutants: $(STAMP)
	$(AS_BUILT) $(BIN)/python -W ignore notebooks/tools/mutants.py $(NN)

speedrun: $(STAMP)
	$(BIN)/python benchmarks/speedrun.py

colab:  # needs no .venv
	$(PYTHON) tests/colab_check.py
