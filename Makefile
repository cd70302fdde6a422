# The checks of CONTRIBUTING.md. PYTHON may name the interpreter of a virtual environment.
PYTHON ?= python

.PHONY: check format style types test docs

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

# The API reference, from the docstrings: site/index.html. Needs `pip install -e '.[docs]'`.
docs:
	$(PYTHON) -m pdoc --docformat google --output-directory site mdmf
