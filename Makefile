# Two commands on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
# Another interpreter gets an environment of its own: `make test PYTHON=python3.13`.
PYTHON ?= python3
VENV := $(if $(filter-out python3,$(PYTHON)),.venv-$(notdir $(PYTHON))-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'),.venv)
BIN := $(VENV)/bin
RACE ?= images
WORKERS ?= auto
export JAX_PLATFORMS ?= cpu

.PHONY: demo test test-all lint types suite mutants notebooks results docs dist clean

demo: $(VENV)/.demo  ## train a small network on real digits with each optimizer and show who wins
	$(BIN)/python -m benchmarks.race $(RACE) --no-tune --seeds 1

test: lint types suite  ## what must hold after every change

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/pyright --pythonpath $(BIN)/python

suite: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) -q -m "not slow"

test-all: test  ## the long tail too: all notebooks executed, long runs, races that are interrupted and go on
	$(BIN)/python -m pytest -n $(WORKERS) -q -m slow

mutants: $(VENV)/.test  ## plant small faults one by one and see that the suite notices each: an hour
	$(BIN)/python -m tests.mutants --jobs 2

notebooks: $(VENV)/.test  ## run the notebooks anew and keep their pictures
	$(BIN)/python notebooks/run.py

results: $(VENV)/.test  ## regenerate every number that the README quotes
	$(BIN)/python -m benchmarks.cost
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.matrix
	$(BIN)/python -m benchmarks.minimize
	$(BIN)/python -m benchmarks.deviations
	$(BIN)/python -m benchmarks.sweep
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.race all --out benchmarks/results
	$(BIN)/python -m benchmarks.claims
	$(BIN)/python -m benchmarks.readme

docs: $(VENV)/.test  ## build the site into site/, strict: open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

dist: $(VENV)/.test  ## the wheel and the sdist, in dist/
	$(BIN)/python -m build --no-isolation

# A stamp file says that the environment holds what pyproject.toml and the tested versions ask for.
$(VENV)/.%: pyproject.toml requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.txt --editable '.[$*]'
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf .venv .venv-* out site dist .cache .pytest_cache .ruff_cache .hypothesis
