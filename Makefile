# Every target does its own set-up: a virtual environment in .venv, nothing installed by hand before.
# PYTHON chooses the interpreter (3.10 to 3.12).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Words, or a file with one class a line: make demo WORDS="sky; red star".
WORDS := demo/scene.txt

.PHONY: demo test lint types parity wheel clean

demo: $(VENV)/.ready
	$(BIN)/python demo/image_demo.py demo/scene.png "$(WORDS)" --model trident-tiny --out-dir outputs/demo

test: $(VENV)/.ready-tests
	$(BIN)/python -m pytest

lint: $(VENV)/.ready-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy over the package, and over what it must see of the package's outside.
types: $(VENV)/.ready-tests
	$(BIN)/mypy

# GOLDEN names a folder or files that the reference implementations computed; without it, every
# golden folder beside the checkout that has checks.
parity: $(VENV)/.ready
	$(BIN)/python tools/check_parity.py $(or $(GOLDEN),--all ../shared/golden)

wheel: $(VENV)/.ready
	$(PIP) wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist outputs *.egg-info

$(VENV)/.ready: requirements/lock.txt requirements/runtime.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -r requirements/lock.txt
	$(PIP) install --quiet -e .
	touch $@

$(VENV)/.ready-tests: $(VENV)/.ready requirements/tests.txt
	$(PIP) install --quiet -r requirements/tests.txt
	touch $@
