# Tasks of Talus Hub. `make` lists them; .ci/run runs `check`, then the tests.
.DEFAULT_GOAL := help
.PHONY: help run check form lints core docs test bench fuzz client

help: ## lists the tasks
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 10

run: ## runs the hub on http://127.0.0.1:5000
	cargo run --release

check: form lints core docs ## checks a change in every way but the tests

form: ## checks the format
	cargo fmt --all --check

lints: ## runs clippy on all targets; warnings are errors
	cargo clippy --workspace --all-targets --locked -- -D warnings

core: ## builds the domain without the other crates
	cargo check -p talus-domain --locked

docs: ## builds the documentation; warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

test: ## runs all tests
	cargo test --workspace

bench: ## measures: see docs/FIGURES.md
	cargo bench --bench figures

fuzz: ## fuzzes all edges of a running hub for ten minutes
	FUZZ_SECONDS=600 cargo test --test it fuzz -- --nocapture

client: ## builds the client library and the live example
	npm ci --prefix docs && npm run build --prefix docs
