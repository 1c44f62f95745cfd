# Everything that people and CI run. `make help` lists it.
SHELL := /bin/bash
SEEDS ?= 1000
START ?= 1
FUZZTIME ?= 10s
GO ?= go
TOOL := $(GO) tool -modfile=tools/go.mod
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: help build test race nocgo lint sim fuzz bench bench-rpc bench-sync chaos latency testnet check e2e clients clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/cairnd and bin/cairn
	$(GO) build -trimpath -ldflags "-X cairn/node.Version=$(VERSION) -X main.version=$(VERSION)" -o bin/ ./cmd/cairnd ./cmd/cairn

test: ## all unit and integration tests
	$(GO) test ./...

race: ## the race detector on what is concurrent
	$(GO) test -race ./crypto ./ledger/... ./p2p ./node/...

lint: ## golangci-lint, with the import table
	$(TOOL) golangci-lint run ./...
	bash -n scripts/*.sh clients/*.sh

sim: ## simulate consensus: SEEDS=1000 START=1, or SEED=n TRACE=1 to replay one
	@$(GO) run ./consensus/sim/cmd/sim -seeds $(SEEDS) -start $(START) $(if $(SEED),-seed $(SEED)) $(if $(TRACE),-trace) $(if $(PLANT),-plant $(PLANT)) $(SIMFLAGS)

fuzz: ## every fuzz target for FUZZTIME=10s
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep ^Fuzz || true); do \
	    echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg; done; done

bench: build ## finality, throughput, disk and memory of a real network, as JSON
	$(GO) run ./scripts/bench

bench-rpc: build ## JSON-RPC reads and writes a second, over HTTP, batches and WebSocket, as JSON
	$(GO) run ./scripts/benchrpc

bench-sync: build ## joining a long chain by replay and by snapshot, as JSON: TRANSFERS=100000 ACCOUNTS=10000
	$(GO) run ./scripts/benchsync -transfers $(or $(TRANSFERS),100000) -accounts $(or $(ACCOUNTS),10000)

chaos: build ## random faults on real processes: MINUTES=5 SEED=1 VALIDATORS=7
	$(GO) run ./scripts/chaos -minutes $(or $(MINUTES),5) -seed $(or $(SEED),1) -validators $(or $(VALIDATORS),7)

latency: build ## finality of single transfers with 1 of 4 and 2 of 7 validators dead, beside healthy networks
	$(GO) run ./scripts/chaos -latency -singles 200

testnet: build ## a network of four on this machine, and a first transfer
	scripts/demo.sh

e2e: build ## kill, restart and full-power-loss rounds on real processes: ROUNDS=2 KILLS=5
	$(GO) test -count=1 -tags e2e -timeout 20m ./scripts/e2e -rounds $(or $(ROUNDS),2) -kills $(or $(KILLS),5) -v

clients: build ## ethers, viem, web3.js and cast against two real networks; SKIP_CLIENTS=1 skips
	scripts/clients.sh

nocgo:
	CGO_ENABLED=0 $(GO) build ./...

check: ## exactly what CI runs: lint, test, nocgo, race, sim, e2e, clients
	@+MAKE="$(MAKE)" scripts/stages.sh lint test nocgo race "sim SEEDS=$(or $(CHECK_SEEDS),2000)" e2e clients

clean: ## remove what build made
	rm -rf bin
