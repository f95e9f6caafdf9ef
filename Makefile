# One virtual environment, one marker file: `make test` on a bare machine installs what it needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: serve test lint bench long clean

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

serve: .venv/.installed
	@echo "The live page is the next milestone. Until then: $(BIN)/zspace train corpus"

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -m "not long"

long: .venv/.installed
	$(BIN)/pytest -m long

bench: .venv/.installed
	$(BIN)/python -m tests.bench

clean:
	rm -rf .venv build dist
