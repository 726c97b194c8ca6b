# Two commands do everything on a fresh machine: `make figures` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))
NOTEBOOK_TIMEOUT ?= 900

.DEFAULT_GOAL := help
.PHONY: help env figures notebooks test quick lint lock clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

env: $(READY)  ## create .venv with the pinned packages (about 2 minutes, 6 GB)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
	"inrexp needs Python 3.11 to 3.13, $(PYTHON) is %d.%d: run make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

figures: $(READY)  ## run every notebook in quick mode on the packaged model and pictures; writes figures/
	@mkdir -p out/notebooks
	@set -e; for notebook in $(NOTEBOOKS); do \
		echo "== $$notebook"; \
		$(BIN)/python -m papermill "$$notebook" "out/$$notebook" --cwd notebooks --kernel python3 \
			--execution-timeout $(NOTEBOOK_TIMEOUT) --progress-bar --no-log-output; \
	done; ls -1 figures/

notebooks: $(READY)  ## execute the committed notebooks in place, from clean kernels (before a commit)
	$(BIN)/python -m jupyter nbconvert --to notebook --execute --inplace \
		--ExecutePreprocessor.timeout=$(NOTEBOOK_TIMEOUT) $(NOTEBOOKS)

test: $(READY)  ## every test: modules, then the committed notebooks against their outputs (nbval)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	INREXP_FIGURES=$$(mktemp -d) $(BIN)/python -m pytest --nbval-lax tests notebooks

quick: $(READY)  ## the tests that take seconds
	$(BIN)/python -m pytest -m "not slow" tests

lint: $(READY)  ## format and lint
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m mypy

lock: $(READY)  ## resolve requirements.lock again from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra test --universal --python-version 3.11 --no-annotate \
		--upgrade -o requirements.lock

clean:  ## remove the environment and what runs left behind
	rm -rf $(VENV) out build .pytest_cache .mypy_cache .ruff_cache *.egg-info
