# K8S=1.35 runs the local cluster in that version of Kubernetes.
export LOCKKEEPER_KUBERNETES := $(or $(K8S),$(LOCKKEEPER_KUBERNETES))

.PHONY: help demo test e2e lint crds cluster clean operator

help: ## these targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: operator ## a good and a bad release under traffic; BAD_ERRORS=0: both good
	cargo run -p lockkeeper-e2e --bin lockkeeper-demo

test: ## all tests: units and properties, then the local cluster
	cargo test --workspace --exclude lockkeeper-e2e --tests
	$(MAKE) --no-print-directory e2e

e2e: operator ## the local cluster only; STORY=name for some stories; K8S=1.35 in that version
	cargo test -p lockkeeper-e2e $(if $(STORY),--test stories -- $(STORY),--tests)

lint: ## format and clippy, without a warning
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

crds: ## the custom resource definitions of the chart, from the types
	cargo run --quiet -p lockkeeper -- crds --dir charts/lockkeeper/files/crds

cluster: ## a local cluster for kubectl, until Ctrl-C
	cargo run -p lockkeeper-e2e --bin lockkeeper-cluster

clean: ## what was built here; the tools in the cache stay
	cargo clean

operator:
	cargo build -p lockkeeper
