# Needs Python 3.11 to 3.13 and GNU make (3.81, as macOS has it, will do). Everything else is
# installed into .venv, from the pins in requirements.txt, by the first target that needs it.
#
#   PYTHON=…   the interpreter to build .venv with (default: the first that fits)
#   VENV=…     another place for the environment (default: .venv)

.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
READY := $(VENV)/.ready
# Recursive on purpose: asked again once the environment is there. Windows has no bin/.
PY = $(firstword $(wildcard $(VENV)/Scripts/python.exe) $(VENV)/bin/python)
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
START := chapters/00_start_here/00_start_here.ipynb

# The stamp names the place where the environment stood when it was made. A clone that was
# moved, or an interpreter that was removed, makes the stamp stale whatever its date.
STALE := $(shell test ! -f $(READY) || { $(PY) -c '' && grep -qxF '$(CURDIR)/$(VENV)' $(READY); } \
	>/dev/null 2>&1 || echo stale)

.PHONY: help lab test notebooks train results bench slides lint format environment clean stale

help: ## List what make can do (this list)
	@echo 'Deep learning, three ways: make lab opens the course, make test checks all of it.'
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

lab: $(READY) ## Open the course in JupyterLab (LAB_ARGS=… is passed on)
	@exec $(PY) -m jupyterlab --ServerApp.root_dir='$(CURDIR)' \
		$(if $(wildcard $(START)),--LabApp.default_url=/lab/tree/$(START)) \
		$(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_ARGS)

test: $(READY) ## Check everything: lint, then all tests (TEST_ARGS=… goes to pytest)
	@$(PY) -m utils.environment browser
	@$(MAKE) --no-print-directory lint
	@$(PY) -m pytest $(TEST_ARGS)

notebooks: $(READY) ## Build and execute the notebooks of changed lessons (NAME=02_vae: one)
	@$(PY) -m utils.lessons build $(NAME)

train: $(READY) ## Train a checkpoint with the full profile (NAME=02_vae)
	@$(PY) -m utils.results train $(NAME)

results: $(READY) ## Measure what the README's table reports (NAME=02_vae: one notebook)
	@$(PY) -m utils.results measure $(NAME)

bench: $(READY) ## Time training steps against a textbook loop and the machine's floor
	@$(PY) -m utils.bench $(BENCH_ARGS)

slides: $(READY) ## Write the notebooks as slides into build/slides (NAME=02_vae: one)
	@$(PY) -m utils.lessons slides $(NAME)

lint: $(READY) ## Check style and formatting
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

format: $(READY) ## Mend style and formatting where that can be done safely
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

environment: $(READY) ## Build .venv, and rewrite the conda and Binder files from the pins
	@$(PY) -m utils.environment write

clean: ## Remove caches and builds (ALL=1: the environment too)
	@rm -rf build .pytest_cache .ruff_cache .hypothesis *.egg-info
	@find . \( -path ./.git -o -path './$(VENV)' \) -prune -o \
		\( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -exec rm -rf {} +
	@$(if $(filter 1,$(ALL)),rm -rf '$(VENV)')

# Find a Python that fits, preferably one that can make virtual environments; the rest, and
# what is said on the way, is in utils/environment.py. The stamp is written last.
$(READY): requirements.txt pyproject.toml $(STALE)
	@python=''; lesser=''; \
	for candidate in $(if $(PYTHON),'$(PYTHON)',python3 python3.13 python3.12 python3.11 python); do \
		"$$candidate" -c '$(FITS)' >/dev/null 2>&1 || continue; \
		lesser="$${lesser:-$$candidate}"; \
		if "$$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
			python="$$candidate"; break; \
		fi; \
	done; \
	python="$${python:-$$lesser}"; \
	if test -z "$$python"; then \
		echo 'No Python 3.11, 3.12 or 3.13 $(if $(PYTHON),at PYTHON=$(PYTHON),was found): install one' \
			'(python.org, apt-get, brew) or name it: make PYTHON=/path/to/python3.12' >&2; \
		exit 1; \
	fi; \
	"$$python" -m utils.environment build '$(VENV)'
