# The checks of CONTRIBUTING.md. PYTHON may name the interpreter of a virtual environment.
PYTHON ?= python

.PHONY: check format style types test

check: style types test

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

style:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

types:
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest
