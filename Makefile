# Verbs for people and CI. Bare `make` lists them. No logic here: it lives in dev/ and in swift.
.DEFAULT_GOAL := help
.PHONY: help demo cluster build test chaos sim sim-long planted model coverage fuzz bench-counter lint format generate bench ci clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Watch a spending cap hold: fake provider, real edge, no API key needed.
	@dev/bootstrap
	@swift build --product holdfast && .build/debug/holdfast demo

cluster: ## Run a whole cluster on this machine: PostgreSQL pair, 2 counters, 3 edges, HAProxy.
	@dev/bootstrap cluster
	@swift build --product holdfast && dev/cluster

build: ## Build the release binary, .build/release/holdfast.
	@dev/bootstrap
	swift build --configuration release --product holdfast

test: ## Run all tests: Swift's, the proofs, then the official Python SDKs against real processes.
	@dev/bootstrap tests
	swift build --build-tests && swift test --skip-build && dev/prove && dev/test-sdks

chaos: ## Break a real cluster in every way under load; the provider's bill is the judge. 13 minutes.
	@dev/bootstrap tests
	swift build --build-tests && swift build --configuration release --product holdfast
	HOLDFAST_BINARY=$(CURDIR)/.build/release/holdfast dev/chaos

sim: ## Try to overspend caps in 1,000 simulated clusters of an hour each.
	dev/simulate --seeds 1000 --require-all-faults

sim-long: ## The same over a hundred simulated years. Takes most of a day.
	dev/simulate --seed 1000001 --seeds 36525 --hours 24

planted: ## Plant bugs in a copy of the engines and let the simulator find them.
	dev/planted-bugs

model: ## Explore every state of a small model of the protocol, over the real engines.
	dev/simulate --model

coverage: ## Which regions of Core, Ledger and Wire no test runs.
	dev/coverage

fuzz: ## Ten million damaged frames and stored accounts.
	dev/fuzz

lint: ## Check format and scripts.
	dev/lint

format: ## Format all Swift files in place.
	dev/format

generate: ## Write the generated code again from protos/.
	dev/generate-wire

bench: ## Measure the in-process decision: the engine alone, then the whole path.
	swift run --configuration release --package-path Benchmarks decision
	swift build --configuration release --product holdfast && .build/release/holdfast benchmark

bench-counter: ## What a counter commits into SQLite and PostgreSQL, beside Redis.
	@dev/bootstrap tests
	swift build --configuration release --product holdfast && dev/bench-counter

ci: lint test ## Exactly what CI runs.

clean: ## Remove what was built.
	rm -rf .build .build-*
