# mercat: `make demo` sets everything up and shows the main job; `make test` runs the tests; it lists those it skips, and why.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN     = $(VENV)/bin
DATA   ?=
PORT   ?= 8765
DISTS   = core connectors plugins/customer_service plugins/financial_sentiment plugins/recommendation
STAMP   = $(VENV)/.mercat-installed
DEVSTAMP = $(VENV)/.mercat-dev-installed
BENCH  ?= encode

.PHONY: demo test serve lint bench setup setup-dev clean

demo: setup
	$(BIN)/mercat demo $(if $(DATA),--data $(DATA))

serve: setup
	$(BIN)/mercat serve --config demo-workspace/mercat.toml --port $(PORT)

test: setup-dev
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

lint: setup-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup-dev
	$(BIN)/python -m benchmarks $(BENCH) $(if $(DATA),--data $(DATA))

setup: $(STAMP)
setup-dev: $(DEVSTAMP)

# torch first and alone: a bare requirement would pull the CUDA build.
$(STAMP): constraints.txt $(DISTS:%=%/pyproject.toml)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt torch
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt \
	    -e "core[train,cpu,serve,offline,chinese]" -e connectors -e plugins/customer_service -e plugins/financial_sentiment -e plugins/recommendation
	touch $@

$(DEVSTAMP): $(STAMP) requirements-dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) demo-workspace dist build
