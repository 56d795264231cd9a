#!/usr/bin/env bash
# Measures the built binary beside the proxies that are installed, on loopback, and writes a table and a chart.
#
#   scripts/bench.sh [--quick] [--readme] [--growth] [--peers a,b] [--work a,b] [--rounds N] [--seconds S] [--idle N] [--out DIR]
#
#   --quick     a look in less than a minute: two workloads, one short round
#   --readme    put the table into README.md and the chart beside the benches, for a release
#   --growth    the product alone: what a request costs with many workers, idle clients, kept hosts, rules and names
#   --peers     of squid, haproxy, nginx, tinyproxy, apache2, trafficserver (those that are installed); or none
#   --work      of get-1k, paced-1k, get-64k, get-10m, post-16k, new, tunnel, bulk-down, bulk-up, idle-tunnel, idle-client
#   --out       where table.md, chart.svg and results.json go (target/bench)
#
# How: the proxy and all its processes are pinned to the first CPU, the load, which is the origin too (examples/load), to
# the last. Each round takes all proxies, in another order; the median of the rounds is told. The figure is the
# CPU that the proxy's own processes used, per piece of work: it does not depend on who else is busy, as a rate would. The
# product has its rules, its counters and its JSON access log on; the others log nothing and cache nothing.
# As root everything is in a network namespace of its own: the same settings everywhere, and nobody else's sockets.
# Needs Linux, cargo and python3. Exit 0 = measured, 77 = something that is needed is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in cargo python3; do
    if ! command -v "$tool" >/dev/null; then
        echo "bench.sh: $tool is needed and missing" >&2
        exit 77
    fi
done
if [ "$(uname -s)" != Linux ]; then
    echo "bench.sh: only Linux tells what a process costs the way this needs it" >&2
    exit 77
fi

# One after the other: built together, the product would get features that only the benches need.
cargo build --release --locked --bin rust-forward-proxy
cargo build --release --locked --example load

isolated=()
if [ "$(id -u)" = 0 ] && unshare --net ip link set lo up 2>/dev/null; then
    isolated=(unshare --net)
else
    echo "bench.sh: no network namespace of its own (for want of root): figures are less sure" >&2
fi
exec "${isolated[@]}" python3 -B scripts/bench/compare.py ${isolated:+--isolated} "$@"
