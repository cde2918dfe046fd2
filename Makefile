# make demo | demo-cluster | test | check | bench: each sets up .venv by itself the first time, and again when setup.py or pyproject.toml changed.

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
ARGS ?=
SEEDS ?= 1000

.PHONY: help setup zookeeper demo demo-cluster test check bench failover chaos chaos-cluster sim sim-mutations clean

help:
	@echo "make demo    a broker, three sensors and three controllers as processes; ends by itself"
	@echo "make demo-cluster  ZooKeeper and three brokers; the leader is killed under load and comes back"
	@echo "             (installs Debian's ZooKeeper if it is missing)"
	@echo "make test    all tests                        (ARGS='-k name' to choose)"
	@echo "             starts real ZooKeeper servers: installs Debian's package if they are missing"
	@echo "make check   ruff, mypy --strict, house rules"
	@echo "make bench   throughput and latency           (ARGS='--json' for programs)"
	@echo "make chaos   ten producers of 100,000 messages each, consumers and broker killed  (ARGS='--seed 7')"
	@echo "make chaos-cluster  three brokers and ZooKeeper, killed, stopped and cut off at random  (ARGS='--acts 100 --seed 7')"
	@echo "make failover  how long nothing is confirmed when a leader goes  (ARGS='--runs 20')"
	@echo "make sim     a broker, then a cluster, and their clients in one process, from SEEDS=1000 seeds each; anything that can break does"
	@echo "make sim-mutations  removes rules of the product one by one: each must be missed by the simulation"
	@echo "make clean   removes .venv and caches"

setup: $(STAMP)

zookeeper:
	@.ci/zookeeper

$(STAMP): setup.py pyproject.toml .ci/setup
	@.ci/setup $(VENV)
	@touch $(STAMP)

demo: $(STAMP)
	@$(PYTHON) -m devices.demo $(ARGS)

demo-cluster: $(STAMP) zookeeper
	@$(PYTHON) -m devices.demo_cluster $(ARGS)

# Most tests wait for something real most of the time, so four at a time keep two cores busy.
test: $(STAMP) zookeeper
	@$(PYTHON) -m pytest -n 4 --dist loadfile $(ARGS)

check: $(STAMP)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest -q tests/test_house.py

bench: $(STAMP)
	@$(PYTHON) -m benchmarks.bench $(ARGS)

chaos: $(STAMP)
	@$(PYTHON) -m tests.system.chaos --broker-kills 3 $(ARGS)

chaos-cluster: $(STAMP) zookeeper
	@$(PYTHON) -m tests.system.cluster_chaos $(ARGS)

failover: $(STAMP) zookeeper
	@$(PYTHON) -m benchmarks.failover $(ARGS)

sim: $(STAMP)
	@$(PYTHON) -m tests.sim --seeds $(SEEDS) $(ARGS)
	@$(PYTHON) -m tests.sim --cluster --seeds $(SEEDS) $(ARGS)

sim-mutations: $(STAMP)
	@$(PYTHON) -m tests.sim --mutations --seeds $(SEEDS) $(ARGS)
	@$(PYTHON) -m tests.sim --cluster --mutations --seeds $(SEEDS) $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
