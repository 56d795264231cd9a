#!/usr/bin/env bash
# h2spec (https://github.com/summerwind/h2spec), every case against the TLS listener. None may fail; tests/integration/h2_rules.rs and
# h2_conformance.rs have such cases of their own, which need nothing installed.
set -euo pipefail
h2spec="${H2SPEC:-h2spec}"
if ! command -v "$h2spec" >/dev/null; then
    echo "h2spec is not installed (H2SPEC names it)"
    exit 77
fi
report=$(mktemp)
trap 'rm -f "$report"' EXIT
if ! "$h2spec" -t -k -S -h localhost -p "${VIA_TLS##*:}" >"$report" 2>&1; then
    sed -n '/^Failures:/,$p' "$report"
    exit 1
fi
