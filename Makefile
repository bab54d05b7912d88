# Everything that people and continuous integration do, by hand or not.

CARGO ?= cargo
DATA ?= data
STEADFAST := target/release/steadfast

.DEFAULT_GOAL := help
.PHONY: help run build test lint fmt docs bench bench-peers soak fuzz mutation deny tools services

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

tools: ## check that a Rust toolchain and a C compiler are there
	@command -v $(CARGO) >/dev/null 2>&1 || { \
	  echo "cargo is not installed. Get Rust 1.95 or newer from https://rustup.rs, then run make again." >&2; exit 1; }
	@command -v cc >/dev/null 2>&1 || { \
	  echo "cc, a C compiler, is missing (SQLite and the cryptography are C)."; \
	  if command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
	    echo "Installing build-essential."; \
	    apt-get update -qq && apt-get install -y -qq build-essential; \
	  else echo "Install it, on Debian with: sudo apt-get install build-essential" >&2; exit 1; fi; }

build: tools ## the release binary
	$(CARGO) build --release --locked --package steadfast-cli

run: build ## a bank with three customers on http://127.0.0.1:7400, data under ./data
	@mkdir -p $(DATA)
	exec ./$(STEADFAST) serve --demo --store sqlite:$(DATA)/steadfast.db

fmt: tools ## format all code
	$(CARGO) fmt --all

lint: tools
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy --package steadfast-bank-sim --all-targets --features mutants --locked -- -D warnings
	$(CARGO) clippy --package steadfast-cli --no-default-features --locked -- -D warnings
	@if $(CARGO) tree --locked --edges normal,build --format '{lib}: {f}' --package steadfast-cli | grep ': .*mutants'; \
	  then echo "faults can be planted in the binary" >&2; exit 1; fi

CLIENTS := target/clients

$(CLIENTS)/installed: cli/tests/clients/requirements.txt cli/tests/clients/package-lock.json
	@rm -rf $(CLIENTS); mkdir -p $(CLIENTS)
	@if ! { python3 -c 'import ensurepip' && command -v node npm; } >/dev/null 2>&1; then \
	  echo "Python with venv, Node.js or npm is missing: tests run the official clients of model APIs."; \
	  if command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
	    echo "Installing python3-venv, nodejs and npm."; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv nodejs npm; \
	  else echo "Install them, on Debian with: sudo apt-get install python3-venv nodejs npm" >&2; exit 1; fi; fi
	python3 -m venv $(CLIENTS)/venv
	$(CLIENTS)/venv/bin/pip install --quiet --disable-pip-version-check --no-deps -r cli/tests/clients/requirements.txt
	cp cli/tests/clients/package.json cli/tests/clients/package-lock.json $(CLIENTS)
	cd $(CLIENTS) && npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

services: $(CLIENTS)/installed ## what tests run of their own: PostgreSQL 15 or newer, the official clients of model APIs
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 || { \
	  echo "initdb is missing: tests start a private PostgreSQL server."; \
	  if command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
	    echo "Installing postgresql."; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql; \
	  else echo "Install it, on Debian with: sudo apt-get install postgresql" >&2; exit 1; fi; }

test: lint services ## everything that must hold: format, lints, tests, documentation, planted faults, twenty rounds of kill -9
	$(CARGO) test --workspace --locked --doc
	@if $(CARGO) nextest --version >/dev/null 2>&1; \
	  then $(CARGO) nextest run --workspace --locked; \
	  else $(CARGO) test --workspace --locked --lib --bins --tests; fi
	$(CARGO) test --locked --package steadfast-bank-sim --features mutants --test mutants
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --all-features check licenses bans sources; \
	  else echo "cargo-deny is not installed: licences are not checked (see make deny)"; fi

deny: ## licences and advisories of all dependencies; needs cargo install cargo-deny --locked
	$(CARGO) deny --all-features check licenses bans sources advisories

soak: build services ## three hundred rounds of kill -9 under load, two thousand of power loss, a thousand simulated worlds, twelve minutes of upstreams that fail
	$(CARGO) sim --seeds $${STEADFAST_SIM_SEEDS:-1000}
	$(CARGO) sim-mutants
	STEADFAST_POWER_ROUNDS=$${STEADFAST_POWER_ROUNDS:-2000} \
	  $(CARGO) test --locked --package steadfast-log-sqlite --test power_loss
	STEADFAST_POSTGRES_SEEDS=$${STEADFAST_POSTGRES_SEEDS:-100} \
	  $(CARGO) test --locked --package steadfast-log-postgres --test postgres contract
	STEADFAST_KILL_ROUNDS=$${STEADFAST_KILL_ROUNDS:-300} STEADFAST_BIN=$(CURDIR)/$(STEADFAST) \
	  $(CARGO) test --locked --package steadfast-cli --test e2e -- --nocapture --exact kill::killing_it_at_any_moment_loses_and_doubles_nothing
	STEADFAST_CHAOS_SECONDS=$${STEADFAST_CHAOS_SECONDS:-120} STEADFAST_LEAK_SECONDS=$${STEADFAST_LEAK_SECONDS:-600} \
	  STEADFAST_BIN=$(CURDIR)/$(STEADFAST) \
	  $(CARGO) test --locked --package steadfast-cli --test e2e -- --nocapture --test-threads=1 chaos::

SECONDS ?= 30
FUZZ_FLAGS := --cfg fuzzing -Clink-dead-code -Ccodegen-units=1 -Cpasses=sancov-module \
  $(foreach arg,level=4 inline-8bit-counters pc-table trace-compares,-Cllvm-args=-sanitizer-coverage-$(arg))
FUZZ_HOST = $(shell rustc -vV | sed -n 's/^host: //p')

fuzz: tools ## search for inputs that break a rule of a reader: TARGET=frame, else all; SECONDS=30 each
	@RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --release --target $(FUZZ_HOST) \
	  --manifest-path fuzz/libfuzzer/Cargo.toml --target-dir target/fuzz
	@for target in $${TARGET:-$$(ls fuzz/corpus)}; do \
	  echo "== $$target"; mkdir -p target/fuzz/found/$$target target/fuzz/failed; \
	  STEADFAST_FUZZ_TARGET=$$target target/fuzz/$(FUZZ_HOST)/release/steadfast-libfuzzer \
	    target/fuzz/found/$$target fuzz/corpus/$$target -max_total_time=$(SECONDS) -timeout=10 \
	    -rss_limit_mb=4096 -print_final_stats=1 -verbosity=1 -artifact_prefix=target/fuzz/failed/$$target- \
	    || exit 1; done

mutation: tools ## change commit, turn and ledger in one place at a time, which a test must notice; FILE=apps/bank/src/hold.rs for one file
	@$(CARGO) mutants --version >/dev/null 2>&1 && $(CARGO) nextest --version >/dev/null 2>&1 || { \
	  echo "cargo-mutants or cargo-nextest is missing: cargo install --locked cargo-mutants cargo-nextest" >&2; exit 1; }
	$(CARGO) mutants --output target $(if $(FILE),--file $(FILE))

bench: build ## how fast everything is beside what the disk can do, what kill -9 costs, what a conversation takes to store
	@for what in log runs transfers ws recovery conversation growth gateway; do ./$(STEADFAST) bench $$what || exit 1; done

bench-peers: build ## the same runs on Restate, DBOS and LangGraph, and the same calls of a model through other gateways; see bench/README.md
	@failed=0; for what in peers gateway_peers; do python3 bench/$$what.py --binary $(STEADFAST) || failed=1; done; exit $$failed

docs: build ## write docs/configuration.md, docs/steadfast.example.toml and docs/planted-faults.md from the code
	./$(STEADFAST) config reference > docs/configuration.md
	./$(STEADFAST) config init > docs/steadfast.example.toml
	$(CARGO) sim-mutants --page > docs/planted-faults.md
