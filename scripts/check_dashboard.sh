#!/usr/bin/env bash
# The dashboard in a real browser: that it renders, moves under load, survives a worker's death and the launcher's restart,
# fits a phone, loads nothing from elsewhere and breaks no policy. Leaves screenshots.
#
#   scripts/check_dashboard.sh [FOLDER]     where the screenshots go; a temporary folder by default
#
# DASHBOARD_SECONDS says how long the load runs before the pictures are taken (20). PROXY_BINARY names another binary than the
# release one. Exit 0 = as it should be, 1 = not, 77 = something that is needed is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

binary="${PROXY_BINARY:-${CARGO_TARGET_DIR:-$PWD/target}/release/rust-forward-proxy}"
chromium="${CHROMIUM:-/usr/bin/chromium}"
for tool in node npm "$chromium"; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: $tool is missing (apt-get install chromium nodejs npm)"
        exit 77
    fi
done
[ -x "$binary" ] || cargo build --release --locked

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pictures="${1:-$work/pictures}"
mkdir -p "$pictures"
if ! npm install --prefix "$work" --no-audit --no-fund --silent playwright-core; then
    echo "skipped: npm cannot install playwright-core"
    exit 77
fi
cp scripts/dashboard/check.mjs "$work/"

status=0
BINARY="$binary" CHROMIUM="$chromium" PICTURES="$(realpath "$pictures")" WORK="$work" node "$work/check.mjs" || status=$?
[ "$status" -ne 0 ] || echo "the dashboard is as it should be"
exit "$status"
