# Everything sets itself up: a machine with python3, pip and make is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Each worker waits for its servers and browser part of the time: three are right for two cores.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
# Tests start hundreds of programs. Without compiled modules each would begin with a second of compiling.
export PYTHONDONTWRITEBYTECODE :=
SOURCES := $(shell find src -type f -not -name '*.pyc') pyproject.toml README.md LICENSE requirements/run.txt requirements/docs.txt requirements/sbom.py docs/licences.md

.PHONY: demo test test-long bench-peers pictures serve lint format dev docs dist audit lock clean

# The program's dependencies, and what building and testing it takes: exact versions, by hash. The file is complete, so
# nothing is resolved, and modules are compiled when they are first imported: that halves the time.
$(VENV)/dev: requirements/dev.txt
	@$(MAKE) --no-print-directory $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-compile -r requirements/dev.txt
	@touch $@

# Debian's python3 comes without ensurepip: virtualenv brings its own.
$(BIN)/python:
	@$(PYTHON) -m venv $(VENV) 2>/dev/null \
	|| { rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV) 2>/dev/null && $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check --require-hashes -r requirements/pip.txt; } \
	|| { echo "cannot make a virtual environment with $(PYTHON): install its venv module" >&2; exit 1; }

# The wheel, installed: what is tested and shown is what is shipped.
$(VENV)/wheel: $(VENV)/dev $(SOURCES)
	rm -rf dist
	$(BIN)/hatchling build -t wheel >/dev/null
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall dist/*.whl
	@touch $@

demo: $(VENV)/wheel ## Show the main job on a fresh SQLite file
	$(BIN)/python -P demo/demo.py

# Each worker has servers of its own; a file of tests stays with one, since its tests share what the file sets up.
PYTEST := $(BIN)/python -P -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
test: $(VENV)/wheel ## Run the tests against the built wheel
	$(PYTEST) $(TESTS)

test-long: $(VENV)/wheel ## Run them all: over every engine, and what takes long
	RUNSTEAD_FUZZ_EXAMPLES=25 $(PYTEST) -m '' $(TESTS)

pictures: $(VENV)/wheel ## Take the screenshots in docs/images; needs chromium
	PYTHONPATH=. $(BIN)/python -P -m tests.web.pictures docs/images

bench-peers: $(VENV)/wheel ## Compare one lifecycle with other systems, for docs/benchmarks-peers.md; needs uv and npm
	$(BIN)/python bench/peers/run.py

serve: $(VENV)/wheel ## Start the server and keep it up
	$(BIN)/runstead serve

# .pre-commit-config.yaml repeats these commands; a test compares the two.
lint: $(VENV)/dev ## Style, types, and the files in .github and deploy/compose
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/ci.yml .github/workflows/release.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose/compose.yaml deploy/compose/postgres.yaml
	$(BIN)/zizmor --offline --quiet .github

format: $(VENV)/dev
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format --quiet .

dev: $(VENV)/dev ## Install the source tree itself, to work on it
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	@rm -f $(VENV)/wheel

# Strict: a broken link, a page without a place in the navigation and an unknown name of the reference are errors.
docs: $(VENV)/dev ## Build the documentation as a site, in the package: servers show it at /docs
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

dist: docs ## Build the wheel, its SBOM and the source distribution, as a release does
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/hatchling build >/dev/null

# pip-audit reads the Python advisory database over the network, and fails where it cannot. So CI does not run it.
audit: $(VENV)/dev ## Look for known vulnerabilities of what Runstead installs
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/audit.txt
	$(BIN)/pip-audit --strict --require-hashes --disable-pip -r requirements/run.txt

COMPILE := $(BIN)/uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet
lock: $(VENV)/dev ## Take newer packages in
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) pyproject.toml -o requirements/run.txt
	$(COMPILE) pyproject.toml --group dev -o requirements/dev.txt
	for group in audit build deploy docs image node pip; do \
		$(COMPILE) --group $$group --constraint requirements/dev.txt -o requirements/$$group.txt || exit; \
	done
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes $(foreach file,$(wildcard requirements/*.txt),-r $(file))
	$(BIN)/python -m requirements.licences

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis src/runstead/web/site
