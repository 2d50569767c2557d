# Everything from a fresh clone: `make study` runs the main job, `make test` runs every test; both set up first.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
SOURCES := $(wildcard src/thinnet/ops/csrc/*)

.PHONY: setup study test check docs playground page bench gpu wheel clean

setup: $(VENV)/.ready

# The stamp is older than what the installation depends on: then, and only then, it is done again.
$(VENV)/.ready: pyproject.toml setup.py constraints.txt src/thinnet/ops/build.py $(SOURCES)
	@echo "Setting up $(VENV): PyTorch, the libraries that the tests are pinned to, and thinnet with its C++ kernels."
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@$(RUN) -c "import torch; assert torch.__version__.split('+')[0] == '2.13.0'" 2>/dev/null \
	  || $(RUN) -m pip install --quiet torch==2.13.0
	@$(RUN) -m pip install --quiet -c constraints.txt setuptools
	@$(RUN) -m pip install --quiet -c constraints.txt --no-build-isolation --editable '.[study,workers,inference,lint,examples,bench,docs,dev]'
	@touch $@
	@$(VENV)/bin/thinnet --version

study: setup
	$(VENV)/bin/thinnet study
	@echo "Open report/index.html in a browser."

# Files side by side, one thread each: two processes that both want all cores wait for each other. tests/conftest.py orders them.
test: setup
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n logical --dist loadfile --no-loadscope-reorder

check: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright
	$(VENV)/bin/zizmor --offline --quiet .github action.yml
	$(RUN) -m docs.generate --check
	$(RUN) -m docs.playground
	$(RUN) -m docs.api_changes

# Updates the generated files, and builds the site: `python3 -m http.server -d build/site` shows it.
docs: setup
	$(RUN) -m docs.generate
	$(RUN) -m docs.site

# Builds src/thinnet/playground/index.html, which is committed, and tests it. Needs Node 20 and npm.
playground: setup page
	OMP_NUM_THREADS=1 $(RUN) -m pytest tests/playground

page:
	cd playground && npm ci && npm run build && npm test

bench: setup
	$(RUN) -m benchmarks
	$(RUN) -m docs.generate

# On a machine that has a GPU, PyTorch and Triton: no set-up and no network, at most four minutes.
gpu:
	$(PYTHON) -m benchmarks.on_gpu --out gpu-report

# Writes the sdist and the wheel of this machine to dist/. Linux: the wheel takes PyTorch's libraries from the PyTorch it finds.
wheel: setup
	@test -x build/release/bin/python || $(PYTHON) -m venv build/release
	@build/release/bin/python -m pip install --quiet 'pip>=25.1'
	@build/release/bin/python -m pip install --quiet --group release
	rm -rf dist build/lib* build/bdist* build/wheel
	$(RUN) -c "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('build/wheel')"
	PATH="build/release/bin:$$PATH" auditwheel repair --exclude 'libtorch*' --exclude 'libc10*' --exclude 'libgomp*' -w dist build/wheel/*.whl
	build/release/bin/abi3audit --strict --summary dist/*.whl
	build/release/bin/twine check --strict dist/*

clean:
	rm -rf $(VENV) build dist report gpu-report *.egg-info src/*.egg-info src/thinnet/ops/_C*.so
