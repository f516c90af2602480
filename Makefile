# From a fresh clone and a bare python3: `make demo` trains, `make demo-flower` trains over a network of processes,
# `make test` tests, `make test-fast` without the slow tests, `make docs` builds the documentation. `make results-small` runs the
# phantom studies of docs/results/ in their shortest form in a quarter of an hour, `make results` all studies in a few nights: stop
# and restart it freely.
# Each target sets up .venv the first time.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo demo-flower docs docs-serve check test coverage test-fast results results-small clean

demo: .venv/ready
	$(BIN)/omnifm run examples/mixed-phantom.toml --out $(or $(OUT),runs/demo-$(shell date +%Y%m%d-%H%M%S))

demo-flower: .venv/ready
	$(BIN)/python examples/demo_flower.py $(if $(OUT),--out $(OUT))

# The documentation as a site in build/site; open its index.html, or let docs-serve show it and follow your changes.
docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-serve: .venv/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --livereload

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml omnifm

test: check
	$(BIN)/pytest -n 2 --dist worksteal

# The same, with the coverage of omnifm by the fast tests. The slow ones are not measured: they kill processes, which
# would leave half-written measurements.
coverage: check
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow" --cov --cov-report=term
	$(BIN)/pytest -n 2 --dist worksteal -m slow

test-fast: .venv/ready
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

# DATA is the folder of real images (docs/data.md); without it only the phantom studies run.
results: .venv/ready
	$(BIN)/python benchmarks/results.py --data $(or $(DATA),data)

results-small: .venv/ready
	$(BIN)/python benchmarks/results.py --small

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv runs
