# Everything runs in .venv, which `make` builds by itself: Python 3.10 or later and make are all
# that a machine needs. As root on Debian, missing system packages are installed through apt.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help env lab demo test test-full test-fleet lint soak bench screenshots docs clean

help:
	@echo "make lab          JupyterLab, open on the labs and the quickstart, with a model being served"
	@echo "make demo         the same job in a terminal; the figure goes to out/demo.png"
	@echo "make test         everything a change must pass"
	@echo "make test-full    what takes longer: chaos, fuzzing, all notebooks, all browser tours"
	@echo "make test-fleet   exported files by official schemas and programs, and many servers"
	@echo "make soak         twenty minutes of load and version changes"
	@echo "make bench        the benchmarks, as ratios within one run"
	@echo "make docs         the documentation as a site, in out/site"
	@echo "make screenshots  the pictures of the README and docs"

# Debian's Python has no venv of its own.
INSTALL_VENV = { package="$$("$(PYTHON)" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$$package" >/dev/null; \
	  else echo "Python's venv is needed: apt-get install $$package"; exit 1; fi; }

env: $(READY)

$(READY): pyproject.toml constraints.txt extension/package.json docs/glossary.md $(shell find extension/src extension/style -name '*.ts' -o -name '*.css')
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or later is needed: make PYTHON=/path/to/python3 ..."; exit 1; }
	@# One that was interrupted, or had no pip, is made again.
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || rm -rf $(VENV)
	@test -d $(VENV) || "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || $(INSTALL_VENV)
	test -d $(VENV) || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[lab,test,docs]"
	@touch $(READY)

# Chromium drives the browser tests. Only root may install it; others are told how.
.PHONY: browser
browser:
	@command -v chromium >/dev/null || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; \
	  else echo "Chromium is needed for the browser tests: apt-get install chromium"; exit 1; fi

# What only the tests of fleets need: Ray, official schemas, and Debian's Prometheus and network
# tools. Only root may install the latter.
FLEET_READY := $(VENV)/.fleet-ready
.PHONY: fleet-env
fleet-env: $(FLEET_READY)
	@{ command -v promtool && command -v ip && command -v iptables; } >/dev/null || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends prometheus iproute2 iptables >/dev/null; \
	  else echo "The tests of fleets need: apt-get install prometheus iproute2 iptables"; exit 1; fi

$(FLEET_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[lab,test,docs,ray,fleet-test]"
	@touch $(FLEET_READY)

lab: env
	$(BIN)/workbench lab

demo: env
	$(BIN)/workbench demo

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@# The linters are among the extension's own packages, which may have changed since the build.
	cd extension && PATH="$(CURDIR)/$(BIN):$$PATH" && jlpm install --immutable && jlpm lint:check

# What of the JupyterLab extension needs no browser, on Node's own test runner.
.PHONY: test-extension
test-extension: env
	cd extension && PATH="$(CURDIR)/$(BIN):$$PATH" node --run test

# A file's tests run in one process; tests that wait run beside tests that compute. In CI the
# coverage of all processes is measured, which leaves no processor time for a third test.
BESIDE := -n $(if $(CI),2,3) --dist loadfile
SLOW_BESIDE := -n 3 --dist loadfile
COVER := $(if $(CI),--cov --cov-append --cov-report=)

# What needs Ray nodes or HAProxy runs only in `make test-fleet`, and does not count here.
D := workbench/deploy
FLEET_ALONE := $(D)/ray/*,$(D)/balancer/*,$(D)/local_nodes/*,$(D)/programs/*,$(D)/fleet/deploying.py,$(D)/fleet/fleet_client.py,$(D)/fleet/fleet_reports.py,$(D)/fleet/fleet_servers.py,$(D)/fleet/rolling.py,workbench/facade/fleet_entrances.py,workbench/facade/fleet_methods.py,workbench/cli/deploy/deploy_command.py

test: env browser lint test-extension
	$(if $(CI),$(BIN)/coverage erase)
	$(BIN)/python -m pytest $(COVER) -m "alone and not slow and not soak and not fleet"
	$(BIN)/python -m pytest $(BESIDE) $(COVER) -m "not slow and not soak and not browser and not alone and not fleet"
	$(if $(CI),$(BIN)/coverage report --skip-covered --fail-under=95 --omit="$(FLEET_ALONE)")
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "browser and not slow and not soak and not fleet"

test-full: env browser
	$(BIN)/python -m pytest $(SLOW_BESIDE) -m "slow and not alone and not fleet"
	$(BIN)/python -m pytest -m "slow and alone and not fleet"

# Prometheus, Ray and HAProxy are programs of many threads, so these tests run one after the other.
# In CI a part of them does, in about seven minutes.
test-fleet: fleet-env
	$(BIN)/python -m pytest -m "fleet and not soak$(if $(CI), and not slow)"

soak: env browser
	$(BIN)/python -m pytest -m soak

bench: env browser
	$(BIN)/python -m benchmarks

screenshots: env browser
	$(BIN)/python -m docs.screenshots

docs: env
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist out workbench/labextension workbench/static extension/node_modules extension/lib
