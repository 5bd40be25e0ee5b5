# Two commands do everything: `make demo` and `make test`. Both build what is missing, show progress, work offline once built,
# and clean up after themselves.

.PHONY: demo test lint unit chart e2e bench crds

# The main job: a real control plane, the chart, the operator, a story to watch. KEEP=1 leaves it running.
demo:
	@examples/demo/run

# Everything, once: formatting, lints, unit tests, the chart, and every rule on the real control plane of both Kubernetes minors.
test: lint unit e2e

lint:
	cargo fmt --all --check
	cargo clippy --all-targets --locked -- --deny warnings

unit:
	cargo test --locked --lib --bins --test house
	cd tests/cluster && CGO_ENABLED=0 GOTOOLCHAIN=local go test -trimpath ./internal/...

e2e:
	tests/e2e/run

# Measures; prints ratios of one run. Apart from the tests: a timing is never a test.
bench:
	@tests/cluster/build >/dev/null && cargo bench --locked --bench domicile

# Writes crds/ from the code.
crds:
	cargo run --locked --quiet -- crds --out crds
