# flatcore: `make demo` to see it work, `make test` to run every check. Both set up what they need in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := demo

.DEFAULT_GOAL := help
.PHONY: help build dev demo test rust python wheel bench format clean

help:  ## Show what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# What is missing on the machine is said in one line.
.PHONY: machine
machine:
	@command -v cargo >/dev/null || { echo "flatcore needs Rust: cargo was not found (see rustup.rs)"; exit 1; }
	@command -v cc >/dev/null || { echo "flatcore needs a C compiler: cc was not found (for example: apt install gcc)"; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "flatcore needs Python 3.11 or newer: $(PYTHON) was not found"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "flatcore needs Python 3.11 or newer: $(PYTHON) is older (make PYTHON=...)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "flatcore needs Python's venv module (for example: apt install python3-venv)"; exit 1; }

$(VENV)/ready: pyproject.toml | machine
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check 'maturin>=1.9,<2'
	@touch $@

build: $(VENV)/ready  ## Build the extension and install flatcore into .venv
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release --quiet

dev: $(VENV)/ready
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release --quiet --extras dev

demo: build  ## Simulate a small night, run the main job on it, show the QC table and the products
	rm -rf $(DEMO)
	$(BIN)/flatcore simulate $(DEMO)
	$(BIN)/flatcore run 2020-08-31 --data-root $(DEMO)
	@ls -l $(DEMO)/red/2020-08-31

test: dev rust python  ## Build and run every check

rust: | machine
	cargo fmt --check
	cargo clippy --quiet --all-targets --all-features -- -D warnings
	cargo test --quiet

python: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest flatcore._core
	$(BIN)/lint-imports
	$(BIN)/pytest

wheel: $(VENV)/ready  ## Build the abi3 wheel into dist/
	$(BIN)/maturin build --release --out dist

bench: $(VENV)/ready  ## Measure flatcore beside NumPy, SciPy and bottleneck (minutes)
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release --quiet --extras bench
	$(BIN)/python -m benchmarks
	@echo "Every kernel by itself, and how it grows: cargo bench, or cargo bench -- straighten for one group"

format: dev  ## Format Rust and Python
	cargo fmt
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove what was built
	rm -rf $(VENV) target dist $(DEMO) benchmarks/data
