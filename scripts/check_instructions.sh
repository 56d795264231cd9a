#!/usr/bin/env bash
# Compares what the pure parts of a request cost, in instructions that valgrind counts, with benches/instructions.json: more or
# fewer by over 3 % is a failure. Fewer, too: a gain is to be kept. Also: a decision costs the same with 100,000 names and 1,000
# prefixes as with one of each, but for a few comparisons more in a fuller table.
#
#   scripts/check_instructions.sh            compares
#   scripts/check_instructions.sh --update   writes the file anew, after a change that is meant
#
# Exit 0 = alike, 1 = not, 77 = cannot be compared here: the reason is said. Another compiler counts otherwise, so the file says
# which one it is from, and only that one is held to it.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
    echo "skipped: $1"
    exit 77
}

[ "$(uname -sm)" = "Linux x86_64" ] || skip "the counts are of Linux on x86_64"
command -v python3 >/dev/null || skip "python3 is not installed"
command -v valgrind >/dev/null || skip "valgrind is not installed"
wanted=$(sed -nE 's/^gungraun = "=([0-9.]+)"$/\1/p' Cargo.toml)
runner=$(command -v gungraun-runner || true)
[ -n "$runner" ] || skip "gungraun-runner is not installed: cargo install gungraun-runner --locked --version $wanted"
found=$("$runner" --version | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1)
[ "$found" = "$wanted" ] || skip "gungraun-runner is $found; $wanted is needed"
compiler=$(rustc --version | cut -d ' ' -f 1,2)
known=$(python3 -c 'import json; print(json.load(open("benches/instructions.json"))["compiler"])' 2>/dev/null || true)
if [ "${1:-}" != --update ] && [ "$known" != "$compiler" ]; then
    skip "the counts are of $known, and this is $compiler"
fi

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
GUNGRAUN_HOME=$home GUNGRAUN_RUNNER=$runner cargo bench --locked --profile counts --bench instructions -- \
    --save-summary=json >"$home/log" 2>&1 || {
    cat "$home/log"
    exit 1
}

compare() {
    python3 - "$home" "$compiler" "${1:-}" <<'PY'
import json, pathlib, sys

ALIKE = 0.03
# Of a list of 100,000 beside a list of one.
GROWTH = 0.2
BASELINE = pathlib.Path("benches/instructions.json")
home, compiler, wish = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]


def count(summary):
    for profile in summary["profiles"]:
        if profile["tool"] == "Callgrind":
            value = profile["data"]["total"]["metrics"]["Ir"]["values"]["new"]
            return value if isinstance(value, int) else next(iter(value.values()))


counts = {}
for path in home.rglob("summary.json"):
    summary = json.loads(path.read_text())
    name = ".".join(part for part in (summary["function_name"], summary.get("id")) if part)
    counts[name] = count(summary)
counts = dict(sorted(counts.items()))
if not counts:
    sys.exit("nothing was counted")

failures = []
for name, value in counts.items():
    few = name.replace("many_", "few_")
    if counts.get(few, value) * (1 + GROWTH) < value:
        failures.append(f"{name} takes {value} instructions, and {counts[few]} with a short list")
if wish == "--update":
    BASELINE.write_text(json.dumps({"compiler": compiler, "instructions": counts}, indent=2) + "\n")
    print(f"written: {BASELINE}, {len(counts)} counts")
else:
    known = json.loads(BASELINE.read_text())["instructions"]
    for name in sorted(known.keys() | counts.keys()):
        old, new = known.get(name), counts.get(name)
        if old is None or new is None:
            failures.append(f"{name}: {'new' if old is None else 'gone'}")
        elif abs(new - old) > old * ALIKE:
            failures.append(f"{name}: {new} instructions, {old} before ({new / old - 1:+.1%})")
    print(f"{len(counts)} counts, the furthest off by "
          f"{max((abs(counts[name] / known[name] - 1) for name in counts if name in known), default=0):.2%}")
print("\n".join(failures), end="\n" if failures else "")
if failures:
    print("if that is meant: scripts/check_instructions.sh --update")
sys.exit(bool(failures))
PY
}
compare "${1:-}"
