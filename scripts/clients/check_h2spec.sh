#!/usr/bin/env bash
# h2spec (https://github.com/summerwind/h2spec), every case against the TLS listener. What is not in `allowed` may not fail.
# tests/integration/h2_rules.rs and h2_conformance.rs have such cases of their own, which need nothing installed.
set -euo pipefail

# By the text of the case. The h2 crate drops pseudo-fields in trailers instead of refusing them: they reach nobody.
allowed=("Sends a HEADERS frame that contains a pseudo-header field as trailers")

h2spec="${H2SPEC:-h2spec}"
if ! command -v "$h2spec" >/dev/null; then
    echo "h2spec is not installed (H2SPEC names it)"
    exit 77
fi
report=$(mktemp)
trap 'rm -f "$report"' EXIT
status=0
"$h2spec" -t -k -h localhost -p "${VIA_TLS##*:}" >"$report" 2>&1 || status=$?
failed=0
while read -r name; do
    for known in "${allowed[@]}"; do
        [ "$name" != "$known" ] || continue 2
    done
    echo "failed: $name"
    failed=1
done < <(sed -nE 's/^ *× ([0-9]+: )?//p' "$report" | sort -u)
# It did not get as far as to say what has failed.
if [ "$status" -ne 0 ] && ! grep -q '×' "$report"; then
    tail -n 20 "$report"
    failed=1
fi
exit "$failed"
