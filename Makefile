# Everything runs in .venv, which `make` builds by itself: Python 3.10 or later and make are all
# that a machine needs. As root on Debian, missing system packages are installed through apt.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help env lab demo test test-full lint soak bench screenshots clean

help:
	@echo "make lab          JupyterLab, open on the quickstart, with a model being served"
	@echo "make demo         the same job in a terminal; the figure goes to out/demo.png"
	@echo "make test         everything a change must pass"
	@echo "make test-full    what takes longer: chaos, fuzzing, all notebooks, all browser tours"
	@echo "make soak         twenty minutes of load and version changes"
	@echo "make bench        the benchmarks, as ratios within one run"
	@echo "make screenshots  the pictures of the README and docs"

env: $(READY)

$(READY): pyproject.toml constraints.txt $(wildcard extension/package.json extension/src/*.ts extension/src/*/*.ts extension/src/*/*.css extension/style/*.css)
	@test -n "$(PYTHON)" || { echo "Python 3.10 or later is needed"; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[lab,test]"
	@touch $(READY)

# Chromium drives the browser tests. Only root may install it; others are told how.
.PHONY: browser
browser:
	@command -v chromium >/dev/null || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; \
	  else echo "Chromium is needed for the browser tests: apt-get install chromium"; exit 1; fi

lab: env
	$(BIN)/workbench lab

demo: env
	$(BIN)/workbench demo

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: env browser lint
	$(BIN)/python -m pytest -m "not slow and not soak and not browser" --cov --cov-report=term:skip-covered --cov-fail-under=95
	$(BIN)/python -m pytest -m "browser and not slow"

test-full: env browser
	$(BIN)/python -m pytest -m slow

soak: env
	$(BIN)/python -m pytest tests/soak -m soak

bench: env
	$(BIN)/python -m benchmarks

screenshots: env browser
	$(BIN)/python -m docs.screenshots

clean:
	rm -rf $(VENV) build dist out workbench/labextension workbench/static extension/node_modules extension/lib
