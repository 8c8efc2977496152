# K8S=1.35 runs the local cluster in that version of Kubernetes.
export LOCKKEEPER_KUBERNETES := $(or $(K8S),$(LOCKKEEPER_KUBERNETES))

# Always the whole workspace, so that its crates have one set of features and are compiled once.
DEBUG := $(or $(CARGO_TARGET_DIR),target)/debug

.PHONY: help demo test sim sim-each planted fuzz mutants coverage e2e e2e-stories e2e-suites bench lint lint-workflows crds cluster clean programs
.PHONY: release reproducible image image-check image-files image-push audit sbom release-version release-files chart-push

help: ## these targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

demo: programs ## a good and a bad release under traffic; BAD_ERRORS=0: both good
	$(DEBUG)/lockkeeper-demo

test: ## all tests: units and properties, then the local cluster
	cargo test --workspace --tests --no-fail-fast
	$(MAKE) --no-print-directory e2e

# What one run has freed the next one needs again: the allocator keeps it.
sim: ## a hundred thousand seeds, of small shops and of large ones, and ten thousand fault plans in the simulator, on all cores; SEEDS=from..to BREEZES=, AIRS=, GALES=, SWELLS=, PLANS=
	LOCKKEEPER_THREADS=$(or $(LOCKKEEPER_THREADS),$$(nproc)) LOCKKEEPER_SEEDS=$(or $(SEEDS),0..500) LOCKKEEPER_PLANS=$(or $(PLANS),0..10000) \
		LOCKKEEPER_BREEZES=$(or $(BREEZES),0..1500) LOCKKEEPER_AIRS=$(or $(AIRS),0..97000) LOCKKEEPER_GALES=$(or $(GALES),0..500) \
		LOCKKEEPER_SWELLS=$(or $(SWELLS),0..500) MIMALLOC_PURGE_DELAY=-1 MIMALLOC_ALLOW_LARGE_OS_PAGES=1 \
		cargo test --profile sim-long -p lockkeeper-simulator --test sim

sim-each: ## releases in the simulator with a crash at each write and await, a fault at each request, and a clock that jumps
	LOCKKEEPER_SIM_ALL=1 cargo test --profile sim -p lockkeeper-simulator --test clock --test crash --test random

planted: ## plants bugs into a copy of the sources: the simulator must catch each; SEEDS=400; ONLY=pin-late,no-settle; TABLE=src/PLANTED.md writes it
	hack/planted.py --seeds $(or $(SEEDS),400) --only "$(ONLY)" $(if $(TABLE),--table $(TABLE)) $(or $(CARGO_TARGET_DIR),target)/planted

fuzz: ## feeds all that is parsed with what nobody would write; BUDGET=60 seconds a target; TARGET="cron route" only these; KEEP=1 adds finds to the corpus
	BUDGET=$(BUDGET) KEEP=$(KEEP) hack/fuzz.sh $(TARGET)

mutants: ## changes the engine in small ways: its tests must notice, or the simulator; ONLY=decide/idle.rs; JOBS=2; SEEDS=0 without it
	hack/mutants.py --jobs $(or $(JOBS),2) --seeds $(or $(SEEDS),20) --only "$(ONLY)" $(or $(CARGO_TARGET_DIR),target)/mutants

coverage: ## lines of the engine that its own tests run
	hack/coverage.sh

e2e: ## the local cluster only; STORY=name for some stories; K8S=1.35 in that version
	cargo test --workspace --tests --no-run
	cargo test --workspace --test 'e2e_*' --no-run
ifdef STORY
	cargo test --workspace --test e2e_stories --test e2e_installations -- $(STORY)
else
	$(DEBUG)/lockkeeper-tools
	@$(MAKE) --no-print-directory --jobs=2 e2e-stories e2e-suites
endif

# Side by side, since stories wait most of the time. Each program has a cluster and a network of its own.
e2e-stories:
	cargo test --workspace --test e2e_stories
e2e-suites:
	cargo test --workspace --no-fail-fast $(patsubst %,--test=%,$(filter-out e2e_stories,$(shell sed -n 's/^name = "\(e2e_.*\)"/\1/p' e2e/Cargo.toml)))

bench: programs ## measures the program that ships; QUICK=1: small numbers; ROWS="verdict-100 at-rest-5000": only these
	cargo bench -p lockkeeper-engine --bench decide
	binary=$$(hack/release.sh) && LOCKKEEPER_BINARY=$$binary $(DEBUG)/lockkeeper-bench $(if $(QUICK),--quick) $(ROWS)

lint: lint-workflows ## format, clippy, docs and workflow files, without a warning; whether bugs can still be planted
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --workspace --test 'e2e_*' -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	hack/planted.py

lint-workflows: ## the workflow files only
	$$(hack/tool.sh actionlint)

crds: ## the custom resource definitions of the chart, from the types
	cargo run --quiet -p lockkeeper -- crds --dir charts/lockkeeper/files/crds

cluster: programs ## a local cluster for kubectl, until Ctrl-C
	$(DEBUG)/lockkeeper-cluster

clean: ## what was built here; the tools in the cache stay
	cargo clean

release: ## the binary that ships: static, optimised; TARGET=aarch64-unknown-linux-gnu for the other architecture
	hack/release.sh $(TARGET)

reproducible: ## two release builds in different places, compared bit for bit
	hack/reproducible.sh $(TARGET)

image: ## the image for this machine, with docker, podman or buildah
	hack/image.sh local

image-check: ## the image's last stage around the release binary, without an engine, inspected and run in an empty root
	hack/image-check.sh "$$(hack/release.sh)"

audit: ## licences, duplicates, sources and known vulnerabilities of what is linked in; OFFLINE=1 without the last
	hack/audit.sh $(if $(OFFLINE),offline)

sbom: ## the bill of materials of the binary, checked against what is linked in
	hack/sbom.sh $(TARGET)

# For .github/workflows/release.yml, in this order.
release-version: ## that TAG=v1.2.3 is the workspace's version
	hack/version.sh $(or $(TAG),"(none: give TAG=)")

image-files: ## the files of the images for all architectures, in target/image
	hack/image.sh files

release-files: ## what a release offers for download, with checksums, in target/release-files
	hack/release-files.sh

image-push: ## the image for all architectures, to its registry
	hack/image.sh push

chart-push: ## the chart, to its registry
	hack/chart-push.sh

programs:
	cargo build --workspace --bins
