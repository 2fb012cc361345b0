# Each recipe is one line. `just ci` runs the CI script.

ci:
    .ci/run

test:
    cargo test

demo:
    cargo run --release -- demo

lint:
    cargo fmt --check && cargo clippy --all-targets -- -D warnings

fmt:
    cargo fmt

# More property-test cases than in CI.
long:
    PROPTEST_CASES=4096 cargo test --release

# One section of scripts/test-all, or all of them.
check *sections:
    scripts/test-all {{sections}}

image:
    docker build -t sidegate .

deny:
    cargo deny check
