# The two commands of the README: `make demo` (the main job, no network, no key) and `make test`.
PYTHON := .venv/bin/python
export PYTHONPATH := src

.PHONY: help setup setup-main demo test lint check clean

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make setup            .venv and system packages (all that tests and emulated boards need)
setup:
	@scripts/setup.sh all

setup-main:
	@scripts/setup.sh main

## make demo             the whole job on synthesized recordings, to headers and report
demo: setup-main
	$(PYTHON) -m cheep demo

## make test             set up, lint, pass the tests
test: setup lint
	$(PYTHON) -m pytest -n 2 --dist loadgroup

lint:
	$(PYTHON) -m ruff check src tests scripts

clean:
	rm -rf runs build .cheep .pytest_cache .ruff_cache
