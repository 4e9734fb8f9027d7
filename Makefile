# The interface of the project. Set-up is done by the first target that needs it; a second run starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
LAB := $(BIN)/python -m lab
RUN := $(LAB) run --
LONG := $(addprefix tests/integration/test_,lab.py node.py speech.py nfs_clients.py faults_on_node.py)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.collections
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs unit page awx surveys integration long molecule e2e bench vectors causes build lock lab down clean

help: ## what can be made
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(STAMP) lab ## from nothing to text from speech, in the lab
	$(RUN) ansible-playbook -i inventory/lab site.yml

# On a lab of its own: what a run that failed has left there is no fault of this one. What needs no lab runs while it
# starts.
test: $(STAMP) ## what every change must pass
	@$(MAKE) --no-print-directory down
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint unit page awx lab
	@$(MAKE) --no-print-directory integration molecule e2e
	@$(MAKE) --no-print-directory down

lint: $(STAMP) ## style, types, documentation
	ruff check .
	ruff format --check .
	MYPYPATH=.collections mypy -p ansible_collections.portal.stt.plugins
	mypy lab tests benchmarks
	ansible-lint --offline
	antsibull-changelog lint
	@$(MAKE) --no-print-directory docs

# In the checkout, the linter would follow .collections into itself for ever.
docs: COLLECTIONS := build/docs/ansible_collections
docs: $(STAMP) ## the documentation of modules and roles, of the collection as built
	@rm -rf build/docs && mkdir -p $(COLLECTIONS)/portal/stt
	@ansible-galaxy collection build --output-path build/docs
	@tar -xzf build/docs/*.tar.gz -C $(COLLECTIONS)/portal/stt
	@ln -s $$(python -c "import ansible_collections.kubernetes as found; print(*found.__path__)") $(COLLECTIONS)/kubernetes
	ANSIBLE_COLLECTIONS_PATH=build/docs antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck \
		--validate-collection-refs dependent $(COLLECTIONS)/portal/stt

unit: $(STAMP) ## decisions, without a lab
	pytest tests/unit

page: $(STAMP) ## the report, in a browser
	pytest tests/page

awx: $(STAMP) ## AWX as code, against a double of its API
	pytest tests/awx

surveys: $(STAMP) ## awx/surveys.yml from the roles' argument specs
	@python -m tests.surveys

integration: $(STAMP) lab ## modules and roles on the lab
	$(RUN) pytest tests/integration $(LONG:%=--ignore=%)

long: $(STAMP) lab ## the node's own tests, NFS clients, the faults of rollouts: an hour without KVM
	$(RUN) pytest $(LONG)
	$(RUN) molecule test -s nfs_export -s faults

molecule: $(STAMP) lab ## role scenarios on the lab
	$(RUN) molecule test -s default

e2e: $(STAMP) lab ## the main job on the real node
	$(RUN) pytest tests/e2e

bench: $(STAMP) lab ## paired measurements
	$(RUN) python -m benchmarks.run
	$(RUN) python -m benchmarks.gpu_nodes
	$(RUN) python -m benchmarks.rollout
	$(RUN) python -m benchmarks.memory
	python -m benchmarks.warm

vectors: $(STAMP) ## NVIDIA's answers against ours: make vectors VECTORS=FILE
	@python -m tests.vectors $(if $(VECTORS),"$(VECTORS)")

causes: $(STAMP) ## texts of failed rollouts and the answers: make causes CAUSES=FILE
	@python -m tests.causes $(if $(CAUSES),"$(CAUSES)")

build: $(STAMP) ## the collection as ansible-galaxy installs it
	ansible-galaxy collection build --force

lock: $(STAMP) ## newest versions into requirements-dev.txt
	uv pip compile -q --upgrade --universal --python-version 3.11 --no-annotate --custom-compile-command "make lock" \
		--group pyproject.toml:dev --group pyproject.toml:lab -o requirements-dev.txt

lab: $(STAMP)
	@$(LAB) up

down: $(STAMP) ## the lab is gone
	@$(LAB) down

clean: ## all but the caches is gone
	@if [ -e $(STAMP) ]; then $(LAB) down; fi
	rm -rf $(VENV) .ansible .mypy_cache .pytest_cache .ruff_cache .hypothesis build ./*.tar.gz

$(STAMP): requirements-dev.txt lab/bootstrap.py
	@$(PYTHON) -m lab.bootstrap
