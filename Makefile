# `make` alone lists the targets. `make demo` and `make test` are all that a newcomer needs.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help demo quick test traces lint fuzz witness clients docs docs-check monitoring chart manifests image image-check
.PHONY: e2e figures bench attack mutants release-check pictures generate

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Mount the example's class from an emulated Azure, rotate its secret, and see two failures
	@echo "Building the provider, the emulator and the demo (minutes the first time, seconds afterwards) ..."
	@$(CARGO) build --workspace
	@exec "$${CARGO_TARGET_DIR:-target}/debug/demo"

# With an eighth of the cases of each property test; `make test` has all of them.
quick: ## Check formatting and lints, and run the unit tests: what to run before each commit
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	PROPTEST_CASES=$${PROPTEST_CASES:-32} $(CARGO) test --workspace --lib

test: ## Run all tests: pure modules, and the real binary on a real socket against the emulator
	$(CARGO) test --workspace

traces: ## Test the feature otlp: the spans that a collector gets
	$(CARGO) test --package provider-azure-rs --features otlp --test it traces::

lint: ## Check formatting, lints and the documentation's links, with warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy --package provider-azure-rs --all-targets --features otlp -- -D warnings
	$(CARGO) clippy --manifest-path fuzz/Cargo.toml --target-dir "$${CARGO_TARGET_DIR:-target}" -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items

# TARGET is one of src/foreign_bytes.rs; fuzz/run says what else can be chosen.
fuzz: ## Try what others write, mutated: SECONDS_EACH=10 for each target, or TARGET=NAME alone
	fuzz/run $(TARGET)

witness: ## Check the emulator with Microsoft's own Python clients
	$(CARGO) build --workspace
	crates/emulator/witness/run "$${CARGO_TARGET_DIR:-target}/debug/azure-emulator"

clients: ## Call the provider by real gRPC clients: Python's, Go's of older and newer drivers, Node's, grpcurl
	$(CARGO) build --workspace
	tests/clients/run "$${CARGO_TARGET_DIR:-target}/debug"

monitoring: ## Check alerts, dashboard and runbooks; needs promtool and prometheus
	$(CARGO) build --workspace
	tests/monitoring/run

# CHECKS='1 2 5' runs some of the checks, DRIVERS='1.6.0 1.5.6' with some versions of the driver; SYNC_CONTROLLER=FOLDER is a
# checkout of the sync controller. KEEP=1 leaves a cluster up, GO_PROVIDER=BINARY compares with another provider,
# REPORT=FILE writes the report elsewhere.
e2e: EMULATOR_PROFILE ?= measuring
e2e: E2E_WITH = $(addprefix --driver ,$(DRIVERS)) $(if $(SYNC_CONTROLLER),--sync-controller "$(SYNC_CONTROLLER)")
e2e: ## Check on a real cluster: kubelet, API server and drivers (Linux, as root; minutes the first time)
	@python3 tests/e2e --prepare $(E2E_WITH)
	$(MAKE) --no-print-directory image
	$(CARGO) build --profile $(EMULATOR_PROFILE) --package azure-emulator
	@target="$${CARGO_TARGET_DIR:-target}/$(patsubst dev,debug,$(EMULATOR_PROFILE))"; \
		exec python3 tests/e2e --emulator "$$target/azure-emulator" --image target/image/*.docker.tar \
		$(E2E_WITH) $(if $(KEEP),--keep) $(if $(GO_PROVIDER),--go-provider "$(GO_PROVIDER)") --details target/e2e.md \
		$(if $(CHECKS)$(DRIVERS)$(REPORT),,--report docs/validation.md) $(if $(REPORT),--report "$(REPORT)") $(CHECKS)

figures: ## Measure start time, idle memory and the binary's size of a release build
	$(CARGO) build --release --package provider-azure-rs
	$(CARGO) build --workspace
	@target="$${CARGO_TARGET_DIR:-target}"; "$$target/debug/bench" startup "$$target/release/provider-azure-rs"

# PEER is another provider's binary, to measure side by side; BENCH has further flags of `bench load`.
bench: ## Measure mounts of a release build; PEER=BINARY beside another provider, BENCH=FLAGS
	$(CARGO) build --release --package provider-azure-rs
	$(CARGO) build --profile measuring --package bench
	@target="$${CARGO_TARGET_DIR:-target}"; \
		"$$target/measuring/bench" load "$$target/release/provider-azure-rs" $(if $(PEER),--peer "$(PEER)") $(BENCH)

# ATTACK has flags of `bench attack`, such as --list or --only YAML; PROVIDER=BINARY is attacked instead.
attack: ## Attack a release build as pods of one namespace may, and measure what a pod of another suffers
	$(if $(PROVIDER),,$(CARGO) build --release --package provider-azure-rs)
	$(CARGO) build --profile measuring --package bench
	@target="$${CARGO_TARGET_DIR:-target}"; \
		"$$target/measuring/bench" attack $(if $(PROVIDER),"$(PROVIDER)","$$target/release/provider-azure-rs") $(ATTACK)

# .cargo/mutants.toml says where and by which tests. MUTANTS has flags of cargo-mutants: a part of them, such as
# '--shard 3/28' or '--file src/shares/*.rs', or all that a change touches by --in-diff.
mutants: ## Change the risky rooms line by line, and see whether a test fails; MUTANTS=FLAGS for a part (hours for all)
	"$$(.ci/tool cargo-mutants)" mutants --output target $(MUTANTS)

release-check: ## Say whether this commit can be released as VERSION=1.2.3
	.ci/release-check $(VERSION)

pictures: ## Draw docs/pictures again: what the demo and doctor print
	$(CARGO) build --workspace
	docs/pictures/draw "$${CARGO_TARGET_DIR:-target}/debug"

docs-check: ## Check the documentation: commands, manifests, links
	$(CARGO) build --workspace
	"$$(.ci/tool kubernetes-validate)" .ci/check-docs "$${CARGO_TARGET_DIR:-target}/debug"

docs: ## Make the book of the documentation in target/book
	"$$(.ci/tool mdbook)" build
	.ci/book-links target/book

generate: ## Make src/generated again from proto/, and what is generated in docs/ from the code
	$(CARGO) run --package codegen
	$(CARGO) build --workspace
	@"$${CARGO_TARGET_DIR:-target}/debug/provider-azure-rs" validate --print-schema > docs/secretproviderclass.schema.json
	@"$${CARGO_TARGET_DIR:-target}/debug/provider-azure-rs" explain --page > docs/errors.md
	@"$${CARGO_TARGET_DIR:-target}/debug/codegen" reference

image: ## Build the container image into target/image: archives, digest, list of parts
	image/build target/image

image-check: image ## Check the image: a second build has the same digest, and the program works in its root
	image/check target/image

chart: ## Check the Helm chart: lint, schemas of Kubernetes, Pod Security, refusals, drift
	.ci/chart

manifests: ## Make what comes from the chart again: deploy/, and its README.md
	.ci/chart write
