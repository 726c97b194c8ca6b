# Two commands do everything on a fresh machine: `make figures` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NOTEBOOK_TIMEOUT ?= 900
# What make and the notebooks' quick runs leave in out/, where readers' studies stand, too.
AGAIN := book book.cache browser explanations jupyter_execute quick rehearsal
# Two processes, in the order that tests/conftest.py gives: the slow tests first. nbval takes 2 s to import.
# A hang ends the test after 400 s, and ten failures end the run: what hangs everywhere is told within the hour.
BY_TWO := -n 2 --dist loadgroup --no-loadscope-reorder -p no:nbval --durations=10 --timeout=400 --maxfail=10

.DEFAULT_GOAL := help
.PHONY: help env figures paper notebooks book chromium browser test soak quick lint bench lock clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

env: $(READY)  ## create .venv with the pinned packages (2 to 4 minutes, 6.5 GB)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
	"inrexp needs Python 3.11 to 3.13, $(PYTHON) is %d.%d: run make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@cp inrexp/widgets/jupyter_nbconvert_config.json $(VENV)/etc/jupyter/  # pip puts it there unless with -e
	@touch $@

figures: $(READY)  ## run every notebook in quick mode, one a core; writes figures/, names each as it is there
	$(BIN)/inrexp run all --execution-timeout $(NOTEBOOK_TIMEOUT) $(if $(DEVICE),--device $(DEVICE))

paper: $(READY)  ## every notebook with the paper's settings (DEVICE=cuda); goes on where it stopped; ends with a table
	$(BIN)/inrexp run all --full --resume $(if $(DEVICE),--device $(DEVICE))

notebooks: $(READY)  ## execute the committed notebooks in place, from clean kernels (before a commit)
	$(BIN)/inrexp run all --in-place --execution-timeout $(NOTEBOOK_TIMEOUT)

book: $(READY)  ## the executed notebooks, the method and the API as a static site, out/book/index.html; offline
	$(BIN)/python -m sphinx -q -W --keep-going -d out/book.cache book out/book

chromium:  ## the browser of tests/widgets/test_browser.py, by apt-get, where there is none and we are root
	@command -v chromium || { [ "$$(id -u)" = 0 ] && command -v apt-get && apt-get update -q && \
		apt-get install -y -q chromium; } || echo "no chromium here: tests/widgets/test_browser.py will be skipped"

browser: $(READY) chromium  ## sliders in headless chromium: JupyterLab, the book and a mailed page; out/browser
	$(BIN)/python -m pytest tests/widgets/test_browser.py

test: $(READY)  ## every test: modules, then the committed notebooks against their outputs (nbval)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(BY_TWO) tests  # apart from the notebooks: two conftest.py
	INREXP_FIGURES=$$(mktemp -d) $(BIN)/python -m pytest --nbval -n 2 --dist loadscope --no-loadscope-reorder --durations=10 notebooks

soak: $(READY)  ## faults at random for long: a study killed twenty times (INREXP_SOAK=200 for more), a full disk
	INREXP_SOAK=$${INREXP_SOAK:-20} $(BIN)/python -m pytest tests/study/test_faults.py

quick: $(READY)  ## the tests that take seconds, on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" $(BY_TWO) tests

lint: $(READY)  ## format and lint
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m mypy

bench: $(READY)  ## where a step's time goes, as ratios, and memory: Lite0 and ResNet50 (random weights); CPU, and CUDA if any
	$(BIN)/python benchmarks/parts.py
	$(BIN)/python benchmarks/parts.py --model resnet50 --random

lock: $(READY)  ## resolve requirements.lock again from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra test --extra book --universal --python-version 3.11 --no-annotate \
		--upgrade -o requirements.lock

clean:  ## remove .venv, caches, and of out/ what is soon made again; studies, full runs and your own files stay
	rm -rf $(VENV) $(addprefix out/,$(AGAIN)) build .pytest_cache .mypy_cache .ruff_cache *.egg-info
