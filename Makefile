# Needs Python 3.11 or later, git, make and a package index; everything else is installed here:
PYTHON ?= python3
VENV ?= .venv

bin := $(VENV)/bin
# The interpreter is always named, so that a version manager or an active environment does not
# lead uv astray.
install := $(bin)/uv pip install --quiet --python $(bin)/python
export UV_PYTHON_DOWNLOADS := never
unexport VIRTUAL_ENV

# Questions whose answers `make matrix` combines; the others are as in the smallest service.
# AXES=threes: few services that have each three answers between them.
AXES ?= database databases tenancy auth vault

# Processes that run tests at the same time.
WORKERS ?= auto

.DEFAULT_GOAL := help
.PHONY: help service test matrix updates report docs bench mutants quick kubernetes lint format lock clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; \
	  do printf '%-10s %s\n' "$$name" "$$text"; done

service: $(bin)/copier ## Render a service and start it: DIR=../my-service [ANSWERS="database=sqlite"] [PORT=8001]
	@$(bin)/python -m tools.service "$(DIR)" $(ANSWERS)

test: $(bin)/.complete ## Run all tests [ARGS="-k sqlite"]
	@$(bin)/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(ARGS)

matrix: $(bin)/.complete ## Run every combination of AXES="database tenancy" [RESUME=1] [ARGS="-k mysql"]
	@AXES="$(AXES)" RESUME="$(RESUME)" $(bin)/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(ARGS) \
	  tests/test_services.py

updates: AXES = threes
updates: $(bin)/.complete ## Update services with each three answers from each release [AXES="database auth"]
	@AXES="$(AXES)" $(bin)/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(ARGS) \
	  tests/test_updates.py -k each_release

report: $(bin)/.complete ## Draw docs/matrix.html: which combinations were run, here and before, and with what result
	@$(bin)/python -m tools.matrix
	@$(bin)/python -m tools.reference

docs: $(bin)/.complete ## Write what is made from the template, and build the documentation into site/
	@$(bin)/python -m tools.prometheus_rules
	@$(bin)/python -m tools.reference
	@$(bin)/zensical build --strict --clean

bench: $(bin)/.complete ## Measure everything and print one table, in some ten minutes [ARGS="health import"]
	@$(bin)/python -m benchmarks $(ARGS)

mutants: $(bin)/.complete ## Take out every wire of a service, one by one [FILES="app/core/web"]
	@$(bin)/python -m tools.mutants $(FILES)

quick: $(bin)/.complete ## Run the tests to have by while working: the files, and the smallest service
	@$(bin)/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(ARGS) \
	  -k "not (can_fail or dead or declarations or disagreement or README) and \
	  (contract or contents or closure or (services and sqlite-single-sqlalchemy-examples))"

kubernetes: $(bin)/.complete ## Build Kubernetes' API server, once per machine, and let it judge the manifests
	@.ci/kubernetes/build kustomize && .ci/kubernetes/build kube-apiserver
	@PYTHON=$(abspath $(bin)/python) .ci/checkov
	@$(bin)/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(ARGS) \
	  tests/test_kubernetes.py tests/test_cluster.py

lint: $(bin)/.complete ## Check style and types
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@$(bin)/mypy

format: $(bin)/.complete ## Mend what ruff can mend
	@$(bin)/ruff check --fix .
	@$(bin)/ruff format .

lock: $(bin)/.complete ## Pin the newest allowed versions in requirements.txt
	@$(bin)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url \
	  --no-annotate --custom-compile-command "make lock" --group dev --group services \
	  --output-file requirements.txt
	@$(bin)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url \
	  --no-annotate --custom-compile-command "make lock" --group arq \
	  --output-file requirements-arq.txt
	@$(bin)/python -m tools.frontend_lock

clean: ## Remove what the commands above have made
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

$(bin)/.complete: requirements.txt requirements-arq.txt $(bin)/uv
	@echo "Installing the tools and all dependencies of rendered services into $(VENV)"
	@$(install) --requirement requirements.txt
	@$(install) --target $(VENV)/arq --requirement requirements-arq.txt
	@touch $@

$(bin)/copier: requirements.txt $(bin)/uv
	@echo "Installing Copier into $(VENV)"
	@$(install) --constraint requirements.txt copier
	@touch $@

$(bin)/uv: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
	  "Python 3.11 or later is needed: name one, for example make PYTHON=python3.13" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(bin)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint requirements.txt uv
	@touch $@
