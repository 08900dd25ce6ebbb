# make demo       a pocket Twitch and a terminal chat to ask in
# make test       everything that checks the project
# make test-slow  tests that take long: three replicas of the bot, one of which is killed; nights and searches, too
# make test-jax   training with JAX alone, in .venv-jax, which has no TensorFlow
# make test-package   the wheel and the Dockerfile: installed, built and run as an operator would
# Each sets up what it needs first.

PYTHON ?= python3
VENV := .venv
JAX_VENV := .venv-jax
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock

.PHONY: demo test test-slow test-jax test-package check format starter lock clean

demo: $(VENV)/.bot
	@$(BIN)/python -m demo play

# Three processes, as a test now and then waits for its own processes and connections.
test: check
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile

test-slow: $(VENV)/.all
	@$(BIN)/python -m pytest -m slow

test-jax: $(JAX_VENV)/.all
	@KERAS_BACKEND=jax $(JAX_VENV)/bin/python -m pytest tests/jax tests/training/test_look.py

test-package: $(VENV)/.all
	@GAMESPOTTER_TEST_PACKAGE=1 $(BIN)/python -m pytest tests/packaging tests/test_packaging.py

# What `make test` checks before the tests: form, types and who imports whom.
check: $(VENV)/.all
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.all
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "GameSpotter needs Python 3.11 or newer; name one with make PYTHON=...")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.bot: pyproject.toml requirements.lock | $(BIN)/python
	@echo "Setting up the bot in $(VENV) ..."
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.all: pyproject.toml requirements.lock | $(BIN)/python
	@echo "Setting up the bot, training and the tests in $(VENV) ..."
	@$(INSTALL) --editable '.[training,workers,test]'
	@touch $@ $(VENV)/.bot

$(JAX_VENV)/.all: pyproject.toml requirements.lock
	@$(PYTHON) -m venv $(JAX_VENV)
	@echo "Setting up training without TensorFlow in $(JAX_VENV) ..."
	@$(JAX_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock \
		--editable '.[training-jax]' hypothesis pytest pytest-asyncio pytest-timeout
	@touch $@

# Measures and makes the starter model anew: some tens of minutes on two cores; goes on where it was stopped.
STARTER_DATA ?= ../shared/data
STARTER_WEIGHTS ?= ../shared/weights/mobilenetv2_imagenet_notop.weights.h5
starter: $(VENV)/.all
	@$(BIN)/python -m training protocols --data $(STARTER_DATA) --weights $(STARTER_WEIGHTS) --out training-work/figures.json \
		--author counter_strike_2/a --author counter_strike_2/b
	@rm -rf models/starter
	@$(BIN)/python -m training run --data $(STARTER_DATA) --weights $(STARTER_WEIGHTS) --out models/starter \
		--figures training-work/figures.json --version starter-1

# Needs uv (not part of the project's set-up). No index is named, so that the lock serves whatever index is in use.
lock:
	uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --upgrade \
		--no-header --no-annotate --no-emit-index-url --output-file requirements.lock

clean:
	rm -rf $(VENV) $(JAX_VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
