GO ?= go
TEST_ARGS ?=
STATICCHECK = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
# A test starts many filters, and each process with the race detector would sleep for a second before it ends.
export GORACE ?= atexit_sleep_ms=0

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps test-deps docker-deps lint-deps
deps: ## install what the build needs and is missing: a C compiler, libmilter-dev
	scripts/deps.sh build

test-deps: ## install what the tests need and is missing: Postfix, swaks, …
	scripts/deps.sh test

docker-deps: ## install what test-docker needs and is missing, but for Docker itself: debootstrap, Compose
	scripts/deps.sh docker

lint-deps: ## install what lint needs and is missing: shellcheck
	scripts/deps.sh lint

.PHONY: build
build: deps ## build the library, the commands and the examples into bin/
	$(GO) build ./...
	$(GO) build -o bin/ ./cmd/...
	cd examples && $(GO) build -o ../bin/ ./...

.PHONY: demo
demo: build ## send a mail through examples/log and show what both ends saw
	scripts/demo.sh

# What runs on a libmilter, and so is tested on both of its builds.
ON_LIBMILTER = . ./miltertest ./test/fuzz ./test/message

# MILTER_TEST_MODEL tells the tests which threading model they must find themselves on: Debian's libmilter has the pool
# of workers, test/libmilter/build.sh makes upstream's.
.PHONY: test test-pool test-threads test-cgocheck test-examples test-bench
test: test-pool test-threads test-cgocheck test-examples test-bench ## run all tests, on both of libmilter's threading models

test-pool: test-deps ## run the tests on Debian's libmilter, with the race detector
	MILTER_TEST_MODEL=pool $(GO) test -race -count=1 -timeout 20m $(TEST_ARGS) ./...

test-threads: test-deps ## run the library's tests on a libmilter with a thread per connection
	lib=$$(test/libmilter/build.sh) && \
		MILTER_TEST_MODEL=threads LD_LIBRARY_PATH=$$lib $(GO) test -race -count=1 -timeout 20m $(TEST_ARGS) $(ON_LIBMILTER)

# Tests of what MTAs and the file system do: they call nothing of C's that others do not.
NOT_CGOCHECK = 'Postfix|Sendmail|TestOutcomes|TestSets|TestStartTogether|TestSocketMode'

test-cgocheck: test-deps ## run the library's tests twice over, with cgo's strict pointer checks
	MILTER_TEST_MODEL=pool GOEXPERIMENT=cgocheck2 $(GO) test -count=2 -timeout 20m -skip $(NOT_CGOCHECK) $(TEST_ARGS) $(ON_LIBMILTER)

test-examples: test-deps
	cd examples && $(GO) vet ./... && $(GO) test -count=1 -timeout 20m $(TEST_ARGS) ./...

test-bench: test-deps ## run each filter and each workload of the benchmark for a moment
	cd bench && $(GO) test -count=1 -timeout 20m $(TEST_ARGS) ./...

.PHONY: test-docker
test-docker: docker-deps ## build the images on a Docker engine and test them, and examples/compose with them
	cd test/docker && $(GO) test -v -count=1 -timeout 20m $(TEST_ARGS) ./...

N ?= 3000
.PHONY: conformance conformance-asan
conformance: test-deps ## compare the binding with libmilter: N=3000 random sessions for each build and policy
	$(GO) run ./test/conformance -n $(N)

conformance-asan: test-deps ## the same under AddressSanitizer, and with sessions that break libmilter itself
	$(GO) run ./test/conformance -asan -n 500
	$(GO) run ./test/conformance -asan -hostile -n 300

# New inputs that are interesting are kept in Go's build cache; one that fails is written to test/fuzz/testdata.
FUZZTIME ?= 30m
.PHONY: fuzz
fuzz: test-deps ## feed arbitrary bytes to a filter's socket: FUZZTIME=30m
	$(GO) test ./test/fuzz -run '^$$' -fuzz FuzzSocket -fuzztime $(FUZZTIME) -fuzzminimizetime 10x

.PHONY: bench
bench: deps ## compare filters with filters in C, in ten minutes: BENCH_ARGS=-quick for a look
	cd bench && $(GO) run . $(BENCH_ARGS)

ROUNDS ?= 5
.PHONY: scale
scale: test-deps ## mails a second with 1, 2 and 3 filters, and what each costs, in four minutes: ROUNDS=5
	cd examples && $(GO) test -count=1 -timeout 60m -v -run '^TestRate$$' ./greylist -rate $(ROUNDS)

.PHONY: soak
soak: deps ## 1,000,000 mails, and 500 large ones at once: what the filter's process holds
	$(GO) run ./test/soak
	$(GO) run ./test/soak -conns 500 -n 500 -body 10000000 -hold

.PHONY: lint
lint: lint-deps ## gofmt, go vet, staticcheck, gcc's warnings, shellcheck
	@files=$$(gofmt -l .) && test -z "$$files" || { echo "not gofmt'ed:" $$files; exit 1; }
	$(GO) vet ./...
	$(STATICCHECK) ./...
	@for module in examples bench test/docker; do (cd $$module && $(GO) vet ./... && $(STATICCHECK) ./...) || exit 1; done
	scripts/lint-c.sh
	shellcheck .ci/run scripts/*.sh test/libmilter/build.sh examples/docker/healthy

.PHONY: clean
clean: ## remove what was built
	rm -rf bin .cache
