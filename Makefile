# Needs Python 3.11 to 3.13 and GNU make (3.81, as macOS has it, will do). Everything else is
# installed into .venv, from the pins in requirements.txt, by the first target that needs it.
#
#   PYTHON=…   the interpreter to build .venv with (default: the first that fits)
#   VENV=…     another place for the environment (default: .venv; beside it stand .venv-site,
#              .venv-tools, .venv-colab and .venv-client, for the website, the hooks, Colab's
#              versions and one test)
#   JOBS=…     how many tests run side by side (default: 2; each takes a core and up to 4 GB;
#              0: none beside the other, which a debugger needs)

.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
READY := $(VENV)/.ready
# What writes the website has an environment of its own, so that it cannot disturb the frameworks'.
SITE := $(VENV)-site
# What contributors' hooks and the audit need, likewise.
TOOLS := $(VENV)-tools
TOOL = $(firstword $(wildcard $(TOOLS)/Scripts) $(TOOLS)/bin)
# Colab's versions, to try the notebooks on them.
COLAB := $(VENV)-colab
# A client that others wrote for the protocol of the model server, for one test.
CLIENT := $(VENV)-client
JOBS := 2
# Recursive on purpose: asked again once the environment is there. Windows has no bin/.
PY = $(firstword $(wildcard $(VENV)/Scripts/python.exe) $(VENV)/bin/python)
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
START := chapters/00_start_here/00_start_here.ipynb

# The stamp names the place where the environment stood when it was made. A clone that was
# moved, or an interpreter that was removed, makes the stamp stale whatever its date.
STALE := $(shell test ! -f $(READY) || { $(PY) -c '' && grep -qxF '$(CURDIR)/$(VENV)' $(READY); } \
	>/dev/null 2>&1 || echo stale)

.PHONY: help lab test check new-lesson notebooks train results bench serve bench-serving gpu binder colab slides site links picture lint format hooks workflows audit environment clean stale

help: ## List what make can do (this list)
	@echo 'Deep learning, three ways: make lab opens the course, make test checks it.'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

lab: $(READY) ## Open the course in JupyterLab (LAB_ARGS=… is passed on)
	@exec $(PY) -m jupyterlab --ServerApp.root_dir='$(CURDIR)' \
		$(if $(wildcard $(START)),--LabApp.default_url=/lab/tree/$(START)) \
		$(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_ARGS)

test: $(READY) $(CLIENT)/.ready ## Lint, then all tests but the longest (TEST_ARGS=--thorough: those too)
	@$(PY) -m utils.environment browser
	@$(MAKE) --no-print-directory lint
	@$(PY) -m pytest -n $(JOBS) $(TEST_ARGS)

check: $(READY) ## See that notebooks and generated parts agree with their lessons; nothing is run
	@$(PY) -m utils.lessons check

notebooks: $(READY) ## Build and execute the notebooks of changed lessons (NAME=02_vae: one)
	@$(PY) -m utils.lessons build $(NAME)

new-lesson: $(READY) ## Begin a lesson of the plan from a skeleton that runs (NAME=10_alexnet)
	@$(PY) -m utils.lessons new $(or $(NAME),$(error Say which: make new-lesson NAME=10_alexnet))

train: $(READY) ## Train a checkpoint with the full profile (NAME=02_vae)
	@$(PY) -m utils.results train $(NAME)

results: $(READY) ## Measure what the README's table reports (NAME=02_vae: one notebook)
	@$(PY) -m utils.results measure $(NAME)

bench: $(READY) ## Time training steps against a textbook loop and the machine's floor
	@$(PY) -m utils.bench $(BENCH_ARGS)

serve: $(READY) ## Serve the models on http://127.0.0.1:8000/ (SERVE_ARGS='--engine torch --port 0')
	@exec $(PY) -m utils.serving $(SERVE_ARGS)

bench-serving: $(READY) ## Load the model server, beside twenty lines of Flask and the bare model
	@$(PY) -m utils.bench_serving $(BENCH_ARGS)

gpu: $(READY) ## Run the PyTorch and Keras sections on a machine with a GPU (NAME=02_vae: one)
	@$(PY) -m utils.gpu_run $(NAME) $(GPU_ARGS)

binder: $(READY) ## Run every notebook as Binder would: one core and 2 GB (NAME=02_vae: one)
	@$(PY) -m utils.binder_run $(NAME)

# Those left out ask whether the versions are those of requirements.txt: here they are not to be;
# and whether a kernel fits into Binder's memory, which Colab's versions need not.
colab: $(COLAB)/.ready ## Run all tests but the browser's on the versions that Colab ships
	@$(firstword $(wildcard $(COLAB)/Scripts/python.exe) $(COLAB)/bin/python) -m pytest \
		-n $(JOBS) -m 'not browser and not memory' \
		--deselect tests/unit/test_environment.py::test_installed_versions_match_the_pins \
		--deselect tests/unit/test_environment.py::test_what_a_package_needs_is_pinned_too \
		$(TEST_ARGS)

$(CLIENT)/.ready: tests/server/client.txt $(READY)
	@$(PY) -m utils.environment client '$(CLIENT)'

$(COLAB)/.ready: .github/colab.txt $(READY)
	@$(PY) -m utils.environment colab '$(COLAB)'

slides: $(READY) $(SITE)/.ready ## Write the notebooks as slides into build/slides (NAME=02_vae: one)
	@$(PY) -m utils.lessons slides --tools '$(SITE)' $(NAME)

site: $(READY) $(SITE)/.ready ## Write the course as a website into build/site, to read without a kernel
	@$(PY) -m utils.lessons site build/site-source
	@rm -rf build/site
	@$(firstword $(wildcard $(SITE)/Scripts/python.exe) $(SITE)/bin/python) -m sphinx \
		-q -W --keep-going build/site-source build/site
	@echo 'Open build/site/index.html; it needs no network.'

links: $(READY) $(SITE)/.ready ## Ask every link of the website whether it still leads somewhere
	@$(PY) -m utils.lessons site build/site-source
	@$(firstword $(wildcard $(SITE)/Scripts/python.exe) $(SITE)/bin/python) -m sphinx \
		-q -b linkcheck build/site-source build/links

$(SITE)/.ready: docs/requirements.txt $(READY)
	@$(PY) -m utils.environment site '$(SITE)'

hooks: $(TOOLS)/.ready ## Check each commit before it is made, and compare notebooks cell by cell
	@$(TOOL)/pre-commit install
	@git config diff.jupyternotebook.command "'$(CURDIR)/$(TOOL)/git-nbdiffdriver' diff"
	@git config merge.jupyternotebook.driver \
		"'$(CURDIR)/$(TOOL)/git-nbmergedriver' merge %O %A %B %L %P"
	@git config merge.jupyternotebook.name 'notebooks, cell by cell'

workflows: $(TOOLS)/.ready ## Check the files from which GitHub's CI runs, with actionlint
	@$(TOOL)/actionlint

audit: $(TOOLS)/.ready ## Ask whether a pinned version has a known hole
	@$(TOOL)/pip-audit --strict --disable-pip --no-deps --progress-spinner off \
		-r requirements.txt -r docs/requirements.txt -r .github/tools.txt -r tests/server/client.txt

$(TOOLS)/.ready: .github/tools.txt $(READY)
	@$(PY) -m utils.environment tools '$(TOOLS)'

picture: $(READY) ## Take the README's picture afresh: a panel after a run in each framework
	@$(PY) -m pytest -q tests/browser/readme_picture.py

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
	@$(if $(filter 1,$(ALL)),rm -rf '$(VENV)' '$(SITE)' '$(TOOLS)' '$(COLAB)' '$(CLIENT)'; \
		for kind in diff merge; do git config --remove-section $$kind.jupyternotebook; done 2>/dev/null; :)

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
