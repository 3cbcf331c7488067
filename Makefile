# make search   install, fetch the data, search a student for the Fashion-MNIST teacher, train and export it
# make test     install, and run every check and test
# make notebooks   install, and run the notebooks in place
# make client   install, and write the generated code of autokd/client anew
# make docs     install, and build the documentation into site/; a warning fails
RECIPE ?= fashion-mnist
PYTHON ?= python3
BIN := .venv/bin
# Each test, and each process that one starts, gets one thread: never more threads than cores.
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: search test docs notebooks client data install benchmarks smoke clean

search: install data
	@recipe=$$($(BIN)/python -m autokd.recipes.runnable $(RECIPE)) && $(BIN)/autokd search $$recipe --export exported/$$recipe --force

# Bytecode is written even where the environment says not to: the tests start some hundred processes.
test: install data docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m compileall -q autokd search_spaces workers
	$(TESTS) -n 2 --dist worksteal

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

notebooks: install
	$(BIN)/python notebooks/execute.py

# The generator wants other versions than constraints.txt, so it has an environment of its own.
client: install
	$(PYTHON) -m venv --clear .venv-client
	.venv-client/bin/python -m pip install --quiet --disable-pip-version-check datamodel-code-generator==0.89.0
	$(BIN)/python tests/support/client_code.py .venv-client/bin/datamodel-codegen

benchmarks: install data
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/trial/run.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/spaces.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/overhead.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/kernels.py

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,docs,postgresql,dask,ray]'
	@touch $@

# Debian's package as root, else a download when the data are first read; with neither, `make search` says so.
data:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && [ ! -d /usr/share/datasets/fashion-mnist ]; then \
		(apt-get install -qq -y dataset-fashion-mnist || (apt-get update -qq && apt-get install -qq -y dataset-fashion-mnist)) >/dev/null 2>&1 || true; \
	fi

# Another version of torch than the one of constraints.txt, in an environment of its own: make smoke TORCH=2.14.1
smoke: SMOKE := .venv-torch-$(TORCH)
smoke:
	$(PYTHON) -m venv --clear $(SMOKE)
	grep -v '^torch==' constraints.txt >$(SMOKE)/constraints.txt
	$(SMOKE)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(SMOKE)/constraints.txt \
		'torch==$(TORCH)' --editable '.[digits]'
	$(SMOKE)/bin/autokd search digits --home $(SMOKE)/runs --export $(SMOKE)/student --set trials=2 \
		--set 'training.rungs=[1,2]' --set final.epochs=2
	$(SMOKE)/bin/autokd verify $(SMOKE)/student

clean:
	rm -rf .venv .venv-client .venv-torch-* exported autokd-runs site
