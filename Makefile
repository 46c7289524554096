# What a user or developer of this checkout types. `make` alone lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
DEMO_PACKAGES := e2fsprogs iproute2 maven mmdebstrap nftables openssh-client podman python3-venv runc
TEST_PACKAGES := chromium qemu-system-x86 shellcheck
# What of the checkout is the collection; the links let its full names resolve from here.
LINKS := galaxy.yml inventory meta playbooks plugins roles site.yml
HERE := collections/ansible_collections/sparkfleet/ec2
# All but what takes a bucket of yours (s3fs) or long (datascience); a demo of less: make demo COMPONENTS=java,spark
COMPONENTS := storage,java,hdfs,spark,fuse_dfs,nfs_gateway,ganglia,jupyter_ssl
# What nodes run in Python; most of it is called by a name without an ending.
PROGRAMS = $(shell git grep --untracked -lE '^\#!.*python' roles) $(wildcard roles/*/files/*.py)
# Plugins are checked under the names that Ansible imports them by.
TYPED := $(HERE)/plugins bench local_ec2 tests/lint tests/smoke
WITH_LOCAL_EC2 := eval "$$($(BIN)/python -m local_ec2 env)"

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

.PHONY: setup
setup: .venv/dev-installed packages ## Install all that demo, tests and lint need

.PHONY: demo
demo: .venv/installed demo-packages ## Launch 1 master + 3 workers on this machine and run a real job; needs no AWS account
	$(BIN)/python -m local_ec2 up
	$(WITH_LOCAL_EC2) && $(BIN)/ansible-playbook site.yml -e cluster=demo -e workers=3 -e components=$(COMPONENTS)
	@echo 'Use it with any AWS client: eval "$$($(BIN)/python -m local_ec2 env)"'
	@echo 'End it with: make demo-down'

.PHONY: demo-down
demo-down: ## Destroy the demo and the EC2 on this machine; downloads are kept
	if $(BIN)/python -m local_ec2 status > /dev/null; then \
	  $(WITH_LOCAL_EC2) && $(BIN)/ansible-playbook playbooks/destroy.yml -e cluster=demo -e confirm=yes; fi
	$(BIN)/python -m local_ec2 down

.PHONY: lint
lint: .venv/dev-installed ## Check style, types, documentation and that defaults and specs agree
	$(BIN)/ruff check . $(PROGRAMS)
	$(BIN)/ruff format --check . $(PROGRAMS)
	$(BIN)/mypy $(TYPED) $(PROGRAMS)
	git grep --untracked -lE '^#!.*sh( |$$)' | xargs shellcheck
	$(BIN)/yamllint --strict .
	$(BIN)/python tests/lint/role_specs.py
	$(BIN)/python tests/lint/role_readmes.py
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint
	$(BIN)/antsibull-changelog lint
	$(BIN)/antsibull-changelog lint-changelog-yaml --strict changelogs/changelog.yaml
	@# The ceiling: to this repository .venv is ignored, and amazon.aws in there would be taken for an empty collection.
	PATH="$(CURDIR)/$(BIN):$$PATH" GIT_CEILING_DIRECTORIES="$(CURDIR)" $(BIN)/antsibull-docs lint-collection-docs \
	  --plugin-docs --validate-collection-refs self --skip-rstcheck .

.PHONY: sanity
sanity: .venv/dev-installed ## Run ansible-test sanity on a copy of the tree
	tests/sanity/run

.PHONY: test
test: setup ## Run everything that CI runs
	$(MAKE) --jobs=2 --output-sync=target lint sanity
	@# Ansible refuses a standard input that somebody else has made non-blocking.
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder tests/unit tests/integration < /dev/null

# Options for site.yml with OPTIONS='-e fleet_subnet_id=subnet-...'; SMOKE_AWS=yes goes on without asking.
.PHONY: smoke-aws
smoke-aws: .venv/installed ## Try 1 + 1 nodes in your AWS account, which costs some cents; asks first, destroys them after
	$(BIN)/python tests/smoke/smoke_aws.py $(OPTIONS)

# One topic with TOPIC=push, another number of runs with RUNS=5.
.PHONY: bench
bench: setup ## Measure on this machine, which should do nothing else; about an hour
	$(BIN)/python -m bench $(TOPIC) $(if $(RUNS),--runs $(RUNS)) < /dev/null

.PHONY: pictures
pictures: setup ## Take the pictures of the pages for the documentation again
	SPARKFLEET_PICTURES=docs/images $(BIN)/pytest tests/integration/test_notebooks.py -k runs_on_the_cluster < /dev/null

.PHONY: packages demo-packages
demo-packages: wanted := $(DEMO_PACKAGES)
packages: wanted := $(DEMO_PACKAGES) $(TEST_PACKAGES)
packages demo-packages:
	@missing=$$(dpkg-query -W -f '$${db:Status-Abbrev}$${Package}\n' $(wanted) 2>/dev/null | sed -n 's/^ii *//p' \
	  | sort | comm -13 - <(printf '%s\n' $(wanted) | sort)); \
	if [ -z "$$missing" ]; then exit 0; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; \
	else echo "Run first: sudo apt-get install --no-install-recommends" $$missing >&2; exit 1; fi

.venv/bin/python: | demo-packages
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt | .venv/bin/python
	$(BIN)/pip install --quiet -r requirements.txt
	mkdir -p $(HERE)
	for entry in $(LINKS); do ln -sfn ../../../../$$entry $(HERE)/$$entry; done
	touch $@

.venv/dev-installed: requirements-dev.txt .venv/installed
	$(BIN)/pip install --quiet -r requirements-dev.txt
	touch $@
