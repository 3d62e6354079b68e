# The commands of this project, for people, hooks and CI alike.
# `make setup` needs git, make and Python 3.11, 3.12 or 3.13. It names no package index: pip and uv use the one they are
# configured for.

.DEFAULT_GOAL := help
.PHONY: help setup study test test-fast coverage bench docs gallery check format lock find-uv install
MAKEFLAGS += --no-print-directory

# uv is searched on the PATH and in .uv, where `make setup` installs it if it may not install packages into Python itself.
# An activated .venv is removed from the PATH: uv would replace the environment that it runs from.
export PATH := $(subst $(CURDIR)/.venv/bin:,,$(PATH)):$(CURDIR)/.uv/bin
unexport VIRTUAL_ENV
# Compiled modules are kept: without them every process of a study, of Ray's and of a test compiles torch and Ray first.
unexport PYTHONDONTWRITEBYTECODE
UV := $$(uv --version >/dev/null 2>&1 && echo uv || echo python3 -m uv)
PYTHON := .venv/bin/python

# .venv is up to date when .venv/.installed holds this text: the path of the checkout, which installed scripts contain,
# pyproject.toml and requirements.lock. .venv/.installing exists while packages are installed: an interrupted
# installation leaves it behind. Libraries that messages tell to install with `make setup` must be there as well.
WANTED := { pwd; cat pyproject.toml requirements.lock; }
OPTIONAL := ls -d .venv/lib/python*/site-packages/timm
NEEDED := It takes Python 3.11, 3.12 or 3.13: install one of them (or \`uv python install 3.13\`), then make setup again.

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

setup:  ## create or update .venv from requirements.lock
	@if ! { $(PYTHON) -c '' && $(OPTIONAL) && $(WANTED) | cmp -s - .venv/.installed; } >/dev/null 2>&1; then $(MAKE) install; fi

study: setup  ## run the demo study, or resume it
	@$(PYTHON) -u study/run.py --resume

test: setup  ## run all tests (select with ARGS="-k gate")
	$(PYTHON) -u -m pytest $(ARGS)

test-fast: setup  ## run the tests that need neither Ray, nor a cluster, nor a browser, nor real data, nor much time
	$(PYTHON) -u -m pytest -m "not (browser or cluster or ray or real or slow)" $(ARGS)

coverage: setup  ## run all tests and print the line and branch coverage of study and pan_model
	@rm -rf .coverage
	$(PYTHON) -u -m coverage run -m pytest $(ARGS)
	@$(PYTHON) -m coverage combine --quiet
	@$(PYTHON) -m coverage report
	@$(PYTHON) -m coverage json --quiet -o .coverage/report.json
	@$(PYTHON) -c 'import json; print("lines {percent_statements_covered:.2f}%, branches {percent_branches_covered:.2f}%" \
		.format(**json.load(open(".coverage/report.json"))["totals"]))'

bench: setup  ## run all benchmarks and write benchmarks/RESULTS.md (some: ARGS="pair_labels all_pairs")
	$(PYTHON) -u benchmarks/run_all.py $(ARGS)

docs: setup  ## build the documentation site in docs/_build/html, and check its links
	@$(PYTHON) docs/tools/flags.py
	@$(PYTHON) -m sphinx -b html -W --keep-going -n -q $(ARGS) docs docs/_build/html
	@$(PYTHON) docs/tools/links.py docs/_build/html
	@echo "docs/_build/html/index.html"

gallery: setup  ## run a study of the demo and make the pictures of its report in docs/gallery (needs chromium)
	@$(PYTHON) docs/tools/gallery.py $(ARGS)

check: setup  ## check format, lint and types; changes nothing
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m ruff check
	$(PYTHON) -m pyright

format: setup  ## format, and apply the linter's fixes
	$(PYTHON) -m ruff format
	$(PYTHON) -m ruff check --fix

lock: find-uv  ## update requirements.lock from pyproject.toml (ARGS=--upgrade for the newest versions)
	@$(UV) pip compile --universal --generate-hashes --extra dev --python-version 3.11 --quiet \
		--custom-compile-command 'make lock' $(ARGS) pyproject.toml -o requirements.lock

find-uv:
	@$(UV) --version >/dev/null 2>&1 || { \
		command -v python3 >/dev/null || { echo "make setup: no python3 was found. $(NEEDED)" >&2; exit 1; }; \
		echo "make setup: uv is missing, so pip installs it."; \
		python3 -m pip install --quiet uv 2>/dev/null \
		|| python3 -m pip install --quiet --upgrade --target .uv uv \
		|| { python3 -m venv .uv && .uv/bin/python -m pip install --quiet uv; } \
		|| { echo "make setup: uv is missing and pip could not install it (see above). Install pip or uv and run" \
			"make setup again." >&2; exit 1; }; }
	@if [ "$$(command -v uv)" = "$(CURDIR)/.uv/bin/uv" ]; then \
		echo "make setup: uv is in .uv/bin. Put that on your PATH to type \`uv run\`; .venv/bin/python does as well."; fi

install: find-uv
	@if [ -e .venv/.installing ]; then echo "make setup: the last installation was interrupted, so .venv is recreated."; \
	elif [ -e .venv/.installed ] && [ "$$(head -n 1 .venv/.installed)" != "$$(pwd)" ]; then \
		echo "make setup: .venv belongs to another folder, so it is recreated."; \
	elif $(PYTHON) -c 'import sys; sys.exit(sys.prefix == sys.base_prefix or not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then exit 0; fi; \
	rm -rf .venv; \
	$(UV) venv --quiet --no-python-downloads --python '>=3.11,<3.14' .venv || { \
		echo "make setup: no .venv was made. $(NEEDED)" >&2; exit 1; }
	@rm -f .venv/.installed && touch .venv/.installing
	@$(UV) pip sync --python $(PYTHON) --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation -e .
	@$(WANTED) > .venv/.installed && rm .venv/.installing
