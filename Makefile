PYTHON ?= python3
BIN := .venv/bin
CHAINS ?= 1000

.DEFAULT_GOAL := help
.PHONY: help install demo test chains lint format clean

help:
	@echo "make demo    install into .venv and optimise the built-in digits under a budget"
	@echo "make test    install what the tests need, then lint and test"
	@echo "make chains  a thousand random chains of edits on random nets"
	@echo "make format  format and fix what ruff can"

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e .
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	@touch $@

install: .venv/installed

demo: .venv/installed
	@# 3: on a slow or busy machine the budget may not be met; the report then says what stands in the way.
	$(BIN)/danlu optimize digits --max-size 60KB --max-latency 0.1ms --max-drop 0.02 --time 90s --out demo || [ $$? -eq 3 ]
	@echo "Open the report: $$(ls -td demo/*/ | head -1)report.html"

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The browser tests need Chromium; without it they are skipped and say so.
# Two workers with a thread each (two programs with two threads each would wait for each other), in the order of tests/conftest.py.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# A thousand random chains of structure edits on random nets.
chains: .venv/installed-dev
	DANLU_CHAINS=$(CHAINS) OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 tests/edits/test_chains.py

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache demo
