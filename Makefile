# One virtual environment, one marker file each: `make test` and `make serve` on a bare machine install what they need.
PYTHON ?= python3
TEXT ?= corpus
PORT ?= 5006
BIN := .venv/bin
ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
DEBIAN := chromium fonts-dejavu-core fonts-liberation iproute2 libegl1 libvulkan1 mesa-vulkan-drivers

.PHONY: serve browser test long lint bench screenshots clean

.venv/.installed: pyproject.toml
	@$(PYTHON) -c 'import ensurepip, venv' || ($(ROOT) apt-get update -qq && $(ROOT) apt-get install -qq -y python3-venv)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/.tested: .venv/.installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@dpkg -s $(DEBIAN) > /dev/null 2>&1 || \
		($(ROOT) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(ROOT) apt-get install -qq -y $(DEBIAN))
	touch $@

# Python for the script pane: once for each version of the runtime and of what runs in it
static/pyodide/runtime.json: .venv/.installed pyproject.toml workbench/staging.py $(wildcard canvas/*.py canvas/*.toml)
	$(BIN)/python -m pip install --quiet --editable '.[browser]'
	$(BIN)/python -m workbench.staging

# that, and the newest run (RUN=name: another) as a page that needs no server, in build/browser/
browser: static/pyodide/runtime.json
	@test -n "$(RUN)" || ls runs/*/run.json > /dev/null 2>&1 || $(BIN)/zspace train corpus --steps 300
	$(BIN)/zspace browser $(RUN)

serve: .venv/.installed
	$(BIN)/zspace serve --port $(PORT)

lint: .venv/.tested
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint static/pyodide/runtime.json
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# what takes minutes: more kills of a training process, broken kernels in Chromium and on the CPU as well
long: .venv/.tested static/pyodide/runtime.json
	$(BIN)/pytest -m long --timeout 3600

# the README's pictures and those of every view, light and dark, wide and narrow, from a run over corpus/
screenshots: .venv/.tested static/pyodide/runtime.json
	$(BIN)/python -m tests.browser.screenshots

# PEER is a Python that has PyTorch; TEXT is then one file, such as a long public-domain book
bench: .venv/.tested
	$(BIN)/python -m tests.bench.dashboard
	$(BIN)/python -m tests.bench.steering $(TEXT)
	@test -z "$(PEER)" || $(BIN)/python -m tests.bench.throughput --peer $(PEER)
	@test -z "$(PEER)" || $(BIN)/python -m tests.bench.quality $(TEXT) --peer $(PEER)

clean:
	rm -rf .venv build dist static/pyodide
