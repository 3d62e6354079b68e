# One way in: what a person types, what the hooks call and what CI calls are these targets.
# `make setup` needs git, make and Python 3.11, 3.12 or 3.13. It names no package index, so any mirror that pip and uv
# are set up for serves it.

.DEFAULT_GOAL := help
.PHONY: help setup study test check format lock find-uv install
MAKEFLAGS += --no-print-directory

# uv is looked for on the PATH and in .uv, where it goes if Python itself may not be given packages. An activated
# environment is left out of it: uv would replace what it runs from.
export PATH := $(subst $(CURDIR)/.venv/bin:,,$(PATH)):$(CURDIR)/.uv/bin
unexport VIRTUAL_ENV
UV := $$(uv --version >/dev/null 2>&1 && echo uv || echo python3 -m uv)
PYTHON := .venv/bin/python

# The environment is up to date when this text is what .venv/.installed holds: the place (scripts name it), and all
# that says what is installed. .venv/.installing stands while packages are written, so a cut leaves it behind.
WANTED := { pwd; cat pyproject.toml requirements.lock; }
NEEDED := It takes Python 3.11, 3.12 or 3.13: install one of them (or \`uv python install 3.13\`), then make setup again.

help:  ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup:  ## make or update .venv from requirements.lock
	@if ! { $(PYTHON) -c '' && $(WANTED) | cmp -s - .venv/.installed; } 2>/dev/null; then $(MAKE) install; fi

study: setup  ## run the demo study, go on with it, or say that it is done
	@$(PYTHON) -u study/run.py --resume

test: setup  ## run every test (choose with ARGS="-k gate")
	$(PYTHON) -u -m pytest $(ARGS)

check: setup  ## format, lint and types, changing nothing
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m ruff check
	$(PYTHON) -m pyright

format: setup  ## format, and mend what the linter can mend
	$(PYTHON) -m ruff format
	$(PYTHON) -m ruff check --fix

lock: find-uv  ## write requirements.lock anew from pyproject.toml (ARGS=--upgrade for the newest versions)
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
	@if [ -e .venv/.installing ]; then echo "make setup: the last installation was cut, so .venv is made anew."; \
	elif [ -e .venv/.installed ] && [ "$$(head -n 1 .venv/.installed)" != "$$(pwd)" ]; then \
		echo "make setup: .venv was made for another folder, so it is made anew."; \
	elif $(PYTHON) -c 'import sys; sys.exit(sys.prefix == sys.base_prefix or not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then exit 0; fi; \
	rm -rf .venv; \
	$(UV) venv --quiet --no-python-downloads --python '>=3.11,<3.14' .venv || { \
		echo "make setup: no .venv was made. $(NEEDED)" >&2; exit 1; }
	@rm -f .venv/.installed && touch .venv/.installing
	@$(UV) pip sync --python $(PYTHON) --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation -e .
	@$(WANTED) > .venv/.installed && rm .venv/.installing
