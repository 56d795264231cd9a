#!/usr/bin/env bash
# Lets fuzz targets run: scripts/fuzz.sh SECONDS [TARGET...], all of them when none is named, one after the other.
#
# What is learnt on the way is kept in fuzz/target/corpus/TARGET and used again; the committed corpus is read and never
# written. Stops at the first finding, which is in fuzz/artifacts/TARGET then. Needs a nightly toolchain and cargo-fuzz.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

if [ $# -lt 1 ] || ! [[ $1 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: scripts/fuzz.sh SECONDS [TARGET...]" >&2
    exit 64
fi
seconds=$1
shift
[ $# -gt 0 ] || mapfile -t targets < <(cargo +nightly fuzz list)
[ $# -eq 0 ] || targets=("$@")

# There is no unsafe code on the way: without the address sanitizer it is several times as fast.
cargo +nightly fuzz build --sanitizer none
for target in "${targets[@]}"; do
    learnt="target/corpus/$target"
    mkdir -p "$learnt"
    cp "corpus/$target"/* "$learnt/"
    log="target/corpus/$target.log"
    # Memory and the time of one input are bounded: what needs more is a finding, too.
    if ! cargo +nightly fuzz run --sanitizer none "$target" "$learnt" -- -max_total_time="$seconds" -rss_limit_mb=2048 \
        -timeout=20 -dict=http.dict -print_final_stats=1 >"$log" 2>&1; then
        tail -n 60 "$log"
        echo "$target: a finding, see fuzz/artifacts/$target and fuzz/$log"
        exit 1
    fi
    sed -nE "s/^stat::number_of_executed_units: */$target: inputs tried: /p" "$log"
done
