.PHONY: cluster clean

cluster: ## a local cluster for kubectl, until Ctrl-C
	cargo run --quiet -p lockkeeper-e2e --bin lockkeeper-cluster

clean: ## what was built here; the tools in the cache stay
	cargo clean
