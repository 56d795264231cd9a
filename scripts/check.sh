#!/usr/bin/env bash
# All gates, in the order in which they fail fastest. Stops at the first that fails and names it.
set -euo pipefail
cd "$(dirname "$0")/.."

# 77 = it cannot be done here, and has said why.
gate() {
    local name=$1 start=$SECONDS status=0
    shift
    echo "== $name"
    "$@" || status=$?
    case $status in
    0) echo "== $name ok ($((SECONDS - start)) s)" ;;
    77) echo "== $name skipped" ;;
    *)
        echo "== $name FAILED"
        exit 1
        ;;
    esac
}

gate "format" cargo fmt --all --check
gate "floors" scripts/check_floors.sh
gate "clippy" cargo clippy --locked --all-targets -- -D warnings
gate "tests" cargo test --locked --no-fail-fast
# The docs are for who works on this crate: private items are in them, and links to them are good.
gate "docs" env RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --locked --no-deps --document-private-items
if cargo deny --version >/dev/null 2>&1; then
    gate "deny" cargo deny check
else
    echo "== deny skipped: cargo-deny is not installed"
fi
if [ "${CI:-}" = true ]; then
    echo "== fuzz skipped: what is found by luck is no gate for a change; its corpus was among the tests"
elif cargo +nightly fuzz --version >/dev/null 2>&1; then
    gate "fuzz" scripts/fuzz.sh "${FUZZ_SECONDS:-10}"
else
    echo "== fuzz skipped: cargo-fuzz or the nightly toolchain is not installed; its corpus was among the tests"
fi
if command -v shellcheck >/dev/null; then
    gate "shellcheck" shellcheck scripts/*.sh .ci/run
else
    echo "== shellcheck skipped: it is not installed"
fi
gate "instructions" scripts/check_instructions.sh
