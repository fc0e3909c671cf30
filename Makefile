# SPDX-License-Identifier: Apache-2.0
# podwire: all targets install what they need, on Debian 12 or newer, as root.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= /usr/bin/python3
VENV := .venv
SHIM := src/podwire/native/podwire

# Packages by target. Only missing packages are installed, so a prepared machine needs no network.
APT_BUILD := python3-venv gcc libc6-dev musl-tools
APT_RUN := iproute2 libnftables1 nftables iputils-ping
APT_LAB := containerd runc busybox-static curl tcpdump
APT_TEST := $(APT_LAB) strace podman kmod iptables procps openssl conntrack
APT_IMAGE := podman mmdebstrap
APT_KERNELS := mmdebstrap qemu-system-x86 cpio
APT_FRESH := mmdebstrap git

# Debian's releases that `make fresh` tries.
RELEASES ?= bookworm trixie

define apt-install
@missing=""; for package in $(1); do \
  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; done; \
if [ -n "$$missing" ]; then echo "installing:$$missing"; apt-get update -qq; \
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
endef

.PHONY: help build tools lab test runtimes image manifests kubernetes cluster e2e kernels fresh bench lint clean

help: ## show the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: $(VENV)/.build-stamp $(SHIM) ## make .venv/bin/podwire and the native shim

$(VENV)/.build-stamp: pyproject.toml lab/pyproject.toml hatch_build.py
	$(call apt-install,$(APT_BUILD) $(APT_RUN))
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev]' --editable ./lab
	touch $@

$(SHIM): $(wildcard shim/*.[ch]) hatch_build.py $(VENV)/.build-stamp
	$(VENV)/bin/python hatch_build.py

tools: build ## build the Go tools that tests, benchmarks and the lab use (once, then cached)
	$(call apt-install,$(APT_TEST) $(APT_IMAGE))
	$(VENV)/bin/python -m tests.tools.build

lab: build ## three nodes with real containerds and pods on a podwire network, and a check of it
	$(call apt-install,$(APT_LAB))
	$(VENV)/bin/python -m tests.tools.build crictl
	$(VENV)/bin/podwire lab run

# Tests of these layers are independent and run in parallel; the others look at the whole machine.
LAYERS := tests/pure tests/namespaces tests/conformance

test: build tools lint ## lint, types and tests; with CI=true also the runtimes and the cluster
	$(VENV)/bin/pytest -q -n $(shell nproc) --dist worksteal $(LAYERS)
ifdef CI
	$(MAKE) runtimes e2e
endif

runtimes: build tools ## containerd, podman, the lab, the image and the chart, for real
	$(VENV)/bin/python -m tests.tools.build helm
	$(VENV)/bin/pytest -q tests/runtimes

image: build ## podwire's own image, as an archive to import; prints its path
	$(call apt-install,$(APT_IMAGE))
	@$(VENV)/bin/python -m podwire_lab.podwire_image

manifests: build ## deploy/podwire.yaml and deploy/uninstall.yaml from the chart in deploy/helm
	$(VENV)/bin/python -m tests.tools.manifests

kubernetes: build
	$(call apt-install,$(APT_TEST) $(APT_IMAGE))
	$(VENV)/bin/python -m tests.tools.build crictl kubernetes

cluster: kubernetes ## a real Kubernetes cluster on this machine (compiles Kubernetes once: some ten minutes)
	$(VENV)/bin/podwire lab up --kubernetes

e2e: kubernetes ## a kubeadm cluster with podwire: pods, Services, failures; the agent with a real API server
	$(VENV)/bin/pytest -q --log-cli-level=INFO tests/cluster

kernels: build ## the namespace tests on Debian's own 6.1 and 6.12, under qemu without KVM (slow)
	$(call apt-install,$(APT_TEST) $(APT_KERNELS))
	$(VENV)/bin/pytest -q tests/kernels

fresh: build ## `make lab` and `make test` in a bare Debian 12 and 13 (RELEASES=trixie: in that one alone)
	$(call apt-install,$(APT_FRESH))
	$(VENV)/bin/python -m tests.fresh $(RELEASES)

lint: build ## ruff, mypy --strict, no test that cannot fail, only standard terms
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m tests.lint.assertions
	$(VENV)/bin/python -m tests.lint.words

bench: build tools ## podwire, the reference plugins and the lower bounds, alternating; JSON in bench/results
	$(VENV)/bin/python -m bench

clean: ## remove what was built here (not the cache of tools)
	rm -rf $(VENV) build $(SHIM) .pytest_cache .mypy_cache .ruff_cache .hypothesis
