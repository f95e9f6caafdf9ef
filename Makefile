# One virtual environment, one marker file: `make test` on a bare machine installs what it needs.
PYTHON ?= python3
TEXT ?= corpus
BIN := .venv/bin

.PHONY: serve test lint bench clean

.venv/.installed: pyproject.toml
	@$(PYTHON) -c 'import ensurepip, venv' || (apt-get update -qq && apt-get install -qq -y python3-venv)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

serve: .venv/.installed
	@echo "The live page is the next milestone. Until then: $(BIN)/zspace train corpus"

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest

# PEER is a Python that has PyTorch; TEXT is then one file, such as a long public-domain book
bench: .venv/.installed
	$(BIN)/python -m tests.bench.steering $(TEXT)
	@test -z "$(PEER)" || $(BIN)/python -m tests.bench.learning $(TEXT) --peer $(PEER) --full

clean:
	rm -rf .venv build dist
