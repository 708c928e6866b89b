# The everyday commands. `make demo` and `make test` need only Python, make and a C++ compiler:
# they make their own virtual environment in .venv, build the package and install it there.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
LINT_TOOLS := ruff==0.17.6 clang-format==23.1.5
SOURCES := CMakeLists.txt pyproject.toml $(shell find core rushlight -type f -not -name '*.so' -not -name '*.pyc')
CPP_SOURCES = $(shell find core -name '*.cpp' -o -name '*.h')

# Repeated builds are quicker with ccache, where it is installed.
ifneq ($(shell command -v ccache),)
export CMAKE_CXX_COMPILER_LAUNCHER ?= ccache
endif

.PHONY: help install demo test lint format sanitize docs bench conformance clean

help:
	@echo "make demo         train a small network on handwritten digits"
	@echo "make test         run the whole test-suite          (ARGS='-k name' passes options to pytest)"
	@echo "make lint         ruff and clang-format checks; 'make format' applies the fixes"
	@echo "make sanitize     run the tests under the address and undefined-behaviour sanitizers"
	@echo "make conformance  compare with the recorded answers in ../shared, where that folder is present"
	@echo "make docs         write docs/coverage.md anew"
	@echo "make bench        run the benchmarks                (ARGS='--only overhead')"
	@echo "make clean        remove everything that was built"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "rushlight needs Python 3.10 or newer; say which one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "no virtual environment: install Python's venv module (Debian: python3-venv)" >&2; exit 1; }

# The build tools live in the environment too, so that a second build finds the first one's objects.
$(VENV)/.build-tools: $(BIN)/python
	$(BIN)/python -m pip install --quiet 'scikit-build-core>=0.10' 'cmake>=3.20' ninja
	@touch $@

$(VENV)/.installed: $(VENV)/.build-tools $(SOURCES)
	@command -v $${CXX:-c++} >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null \
	  || { echo "rushlight needs a C++20 compiler to build from source: install g++ or clang++." >&2; exit 1; }
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install --quiet --no-build-isolation '.[test]'
	@touch $@

$(VENV)/.lint-tools: $(BIN)/python Makefile
	$(BIN)/python -m pip install --quiet $(LINT_TOOLS)
	@touch $@

install: $(VENV)/.installed

demo: install
	@$(BIN)/python -m rushlight demo $(ARGS)

test: install
	$(BIN)/pytest -n auto $(ARGS)

lint: $(VENV)/.lint-tools
	$(BIN)/ruff check
	$(BIN)/clang-format --dry-run -Werror $(CPP_SOURCES)

format: $(VENV)/.lint-tools
	$(BIN)/ruff check --fix
	$(BIN)/clang-format -i $(CPP_SOURCES)

sanitize: install
	PYTHON=$(BIN)/python tools/sanitize.sh $(ARGS)

conformance: install
	$(BIN)/python tools/conformance.py

docs: install
	if [ -d ../shared ]; then \
	  $(BIN)/python ../shared/specs/tools/check_vectors.py rushlight -v > build/vectors.txt && \
	  $(BIN)/python tools/coverage.py --report build/vectors.txt; \
	else $(BIN)/python tools/coverage.py; fi

bench: install
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) build build-asan dist .pytest_cache .ruff_cache .hypothesis rushlight/*.so rushlight_demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
