# The same commands for people and for CI. Each makes .venv from the project's files if it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: compare test test-slow test-pages docs lint audit format clean

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing PyTorch and the rest into $(VENV): one to five minutes, without further output"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,lint]'
	touch $@

compare: $(VENV)/.installed
	$(BIN)/python -m benchmarks.compare --methods lora,lora-sam,bilora

test: $(VENV)/.installed
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m slow

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@

# The pages and examples that train or measure; the others are in the test suite.
test-pages: $(VENV)/.docs
	$(BIN)/python -m pytest -m slow tests/docs
	$(BIN)/python -m pytest -m "not slow" tests/docs/test_api.py

# The site in docs/_build/html: offline, warnings are errors, every internal link is followed.
docs: $(VENV)/.docs
	$(BIN)/sphinx-build -q -W --keep-going -E -b html docs docs/_build/html
	$(BIN)/python -m docs.pages.check docs/_build/html

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Installed versions against known advisories, and pip-audit where it can be had.
audit: $(VENV)/.installed
	$(BIN)/python .ci/audit.py

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) comparison docs/_build .mypy_cache .ruff_cache .pytest_cache
