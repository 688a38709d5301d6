# Needs only Go. Every target prints what it does; "make" alone lists them.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
BIN = bin
SOURCES = cmd internal migrations pkg test
FUZZTIME ?= 30s
KILL_FOR ?= 2m
SEED ?= 0
FAULTS_FOR ?= 30m
FAULTS_COUNT ?= 10000
FAULTS_EVIDENCE ?= $(CURDIR)/$(BIN)/faults

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## start everything on embedded parts, submit three demo tasks, keep serving
	go run ./cmd/taskweir standalone --demo

.PHONY: test
test: ## run every test, on embedded parts and on private servers (as root on Debian: installs what is missing)
	go run ./internal/testkit/cmd/testrun

.PHONY: kill
kill: ## kill schedulers at random for KILL_FOR (2m) with two and again with three of them, and check every slot
	TASKWEIR_TEST_KILL_FOR=$(KILL_FOR) go run ./internal/testkit/cmd/testrun -run TestKilledSchedulers -timeout 60m -no-race ./internal/e2e

.PHONY: model
model: ## visit every state of a few tasks and workers with more faults than make test does, as long as it takes
	TASKWEIR_TEST_MODEL=deep go test ./internal/modelcheck -run TestModel -v -count=1 -timeout 6h

.PHONY: cluster
cluster: ## start a private cluster: MariaDB, Redis, NSQ, api, scheduler, two workers; Ctrl-C removes it
	go run ./internal/testkit/cmd/cluster

.PHONY: bench
bench: ## measure standalone and MariaDB + Redis + nsqd, beside the machine's own yardsticks
	go run ./internal/testkit/cmd/benchrun

.PHONY: growth
growth: ## measure beside 0, 1 and 10 million finished tasks and 1 million waiting, and write docs/benchmarks/growth.md (15 minutes, 17 GB)
	go run ./internal/testkit/cmd/growth -write -rounds $(or $(ROUNDS),3)

.PHONY: peers
peers: ## measure beside asynq, River, machinery and bare NSQ; write docs/benchmarks and README's table (as root on Debian 12: installs what is missing)
	cd test/peers && go run . -write -rounds $(or $(ROUNDS),3)

.PHONY: peers-test
peers-test: ## test the benchmark beside the peers by a tiny round of every system (as root on Debian 12: installs what is missing)
	cd test/peers && go run . -install && go test -p 1 -timeout 15m ./...

.PHONY: faults
faults: ## hurt a whole cluster in every way once, and check its whole history (docs/faults.md); SEED=n draws a plan again; evidence: FAULTS_EVIDENCE (bin/faults)
	cd test/faults && go run . -seed $(SEED) -evidence $(FAULTS_EVIDENCE)

.PHONY: faults-long
faults-long: ## the same for FAULTS_FOR (30m) and until FAULTS_COUNT (10000) faults; writes the tables of README.md and docs/faults.md
	cd test/faults && go run . -seed $(SEED) -for $(FAULTS_FOR) -count $(FAULTS_COUNT) -evidence $(FAULTS_EVIDENCE) -write

.PHONY: faults-test
faults-test: ## the tests of the fault harness itself: its checker on planted violations, its plans, its parts
	cd test/faults && go test -timeout 10m ./...

.PHONY: build
build: ## build the four programs into bin/
	go build -o $(BIN)/taskweir ./cmd/taskweir
	go build -o $(BIN)/taskweir-api ./cmd/api
	go build -o $(BIN)/taskweir-scheduler ./cmd/scheduler
	go build -o $(BIN)/taskweir-worker ./cmd/worker

.PHONY: lint
lint: ## check format, go vet, staticcheck
	@echo "gofmt"; unformatted=$$(gofmt -l $(SOURCES)); \
	if [ -n "$$unformatted" ]; then echo "not formatted (make fmt):" >&2; echo "$$unformatted" >&2; exit 1; fi
	@echo "go vet"; go vet ./...
	@echo "go vet, with failpoints"; go vet -tags faults ./... && go build -tags faults -o /dev/null ./cmd/...
	@echo "staticcheck"; go run $(STATICCHECK) ./...
	@echo "test/peers"; cd test/peers && go vet ./... && go run $(STATICCHECK) ./...
	@echo "test/faults"; cd test/faults && go vet ./... && go run $(STATICCHECK) ./...

.PHONY: fmt
fmt: ## format every file
	gofmt -l -w $(SOURCES)

.PHONY: docs
docs: ## write the tables of settings into README.md and docs/, the reference of the command line and what its examples print
	go test ./internal/config -run TestDocumentsShowEverySetting -count=1 -update
	go test ./internal/cli -run 'TestDocumentedCommands|TestReferenceIsUpToDate' -count=1 -update

.PHONY: verify
verify: ## check that modules and generated documents are up to date
	go mod verify
	go mod tidy -diff
	cd test/tools && go mod tidy -diff
	cd test/peers && go mod verify && go mod tidy -diff
	cd test/faults && go mod verify && go mod tidy -diff
	go test ./internal/config ./internal/archtest -count=1

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (30s)
	go run ./internal/testkit/cmd/testrun -fuzz-only -fuzz $(FUZZTIME)

.PHONY: clean
clean: ## remove what the targets above built, and the data folder of make run
	rm -rf $(BIN) .taskweir
