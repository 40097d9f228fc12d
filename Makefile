# Every target does its own set-up: a virtual environment in .venv, nothing installed by hand before.
# PYTHON chooses the interpreter (3.10 to 3.12), LOCK the versions, each in an environment of its own:
# make test VENV=.venv-lowest LOCK=requirements/lowest.txt

PYTHON ?= python3
VENV ?= .venv
LOCK ?= requirements/lock.txt
# Processes of the tests; each takes up to 2 GB.
JOBS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Words, or a file with one class a line: make demo WORDS="sky; red star".
WORDS := demo/scene.txt

CODE := ovseg tools demo benchmarks
SPELLED := $(CODE) configs docs tests requirements setup.py $(wildcard *.md *.toml *.yml)

# Linters and the site read sources as text, without torch and ovseg: small environments of their own.
LINT_VENV ?= .venv-lint
SITE_VENV ?= .venv-docs

.PHONY: demo test lint types docs parity setup wheel release clean

demo: $(VENV)/.ready
	$(BIN)/python demo/image_demo.py demo/scene.png "$(WORDS)" --model trident-tiny --out-dir outputs/demo

# What one process compiles of the checkout, the processes that tests start need not.
test: $(VENV)/.ready-tests
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# Rules with docstrings of all public names, format, spelling, and no eight lines twice.
lint: $(LINT_VENV)/.ready
	$(LINT_VENV)/bin/ruff check .
	$(LINT_VENV)/bin/ruff format --check .
	$(LINT_VENV)/bin/codespell $(SPELLED)
	$(LINT_VENV)/bin/pylint $(CODE)

# mypy over the package, and over what it must see of the package's outside.
types: $(VENV)/.ready-tests
	$(BIN)/mypy

# The site in outputs/docs, warnings are errors: python3 -m http.server -d outputs/docs shows it.
docs: $(SITE_VENV)/.ready
	PATH="$(abspath $(SITE_VENV)/bin):$$PATH" NO_MKDOCS_2_WARNING=1 mkdocs build --strict

# GOLDEN names a folder or files that the reference implementations computed; without it, every
# golden folder beside the checkout that has checks.
parity: $(VENV)/.ready
	$(BIN)/python tools/check_parity.py $(or $(GOLDEN),--all ../shared/golden)

# The environment of tests, types and parity alone.
setup: $(VENV)/.ready-tests

wheel: $(VENV)/.ready
	$(PIP) wheel --quiet --no-deps --wheel-dir dist .

# Checks version, changelog, wheel and an installation in an empty environment; publishes nothing.
release: $(VENV)/.ready-tests
	$(BIN)/python tools/release.py

clean:
	rm -rf $(VENV) $(LINT_VENV) $(SITE_VENV) build dist outputs *.egg-info

# pip compiles one file after the other, a third of its time; this by all cores. A few files that
# packages ship are not for this Python.
COMPILE = $(BIN)/python -m compileall -q -j 0 $(VENV)/lib || true

$(VENV)/.ready: $(LOCK) requirements/runtime.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-compile -r $(LOCK)
	$(PIP) install --quiet -e .
	$(COMPILE)
	touch $@

$(VENV)/.ready-tests: $(VENV)/.ready requirements/tests.txt requirements/lint.txt requirements/page.txt
	$(PIP) install --quiet --no-compile -r requirements/tests.txt -r requirements/lint.txt
	$(PIP) install --quiet --no-compile --no-deps -r requirements/page.txt
	$(COMPILE)
	touch $@

$(LINT_VENV)/.ready: requirements/lint.txt
$(SITE_VENV)/.ready: requirements/docs.txt
$(LINT_VENV)/.ready $(SITE_VENV)/.ready:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet -r $<
	touch $@
