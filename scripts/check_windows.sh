#!/usr/bin/env bash
# Builds the program for x86_64-pc-windows-gnu and sends a request through it under Wine.
#
# Not one of the gates: it needs Debian's packages rustc-web cargo-web rust-web-src mingw-w64 wine64 and builds the standard
# library, which takes some minutes. Exit 0 = a request passed, 1 = it did not, 77 = something that is needed is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

target=x86_64-pc-windows-gnu
rustc=/usr/bin/rustc
cargo=/usr/bin/cargo
build="${CARGO_TARGET_DIR:-target}/windows"

for tool in "$rustc" "$cargo" x86_64-w64-mingw32-gcc wine python3 curl; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: $tool is missing (apt-get install rustc-web cargo-web rust-web-src mingw-w64 wine64 python3 curl)"
        exit 77
    fi
done

work=$(mktemp -d)
export WINEPREFIX="$work/wine" WINEDEBUG=-all
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wineserver -k 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

echo "building for $target"
RUSTC=$rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS="" "$cargo" build --release --locked --target-dir "$build" \
    -Zbuild-std=std,panic_abort --target "$target" --config 'profile.release.panic="abort"'
cp "$build/$target/release/rust-forward-proxy.exe" "$work/"

# Wine 8 has no bcryptprimitives.dll; the one function that Rust takes from it is in advapi32 under another name.
cat >"$work/bcryptprimitives.c" <<'C'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length) {
    return SystemFunction036(buffer, (ULONG)length);
}
C
x86_64-w64-mingw32-gcc -shared -o "$work/bcryptprimitives.dll" "$work/bcryptprimitives.c" -ladvapi32

mkdir "$work/origin"
echo "hello through wine" >"$work/origin/index.html"
python3 - "$work" <<'PY' &
import functools, http.server, pathlib, sys
work = pathlib.Path(sys.argv[1])
serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(work / "origin"))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve)
(work / "port").write_text(str(server.server_port))
server.serve_forever()
PY
pids+=($!)

cat >"$work/config.yml" <<'YML'
listen_addr: "127.0.0.1:0"
runtime: { mode: "multi_process", process_count: 2 }
logging: { file: null }
access_log: { file: null }
YML
(cd "$work" && exec wine ./rust-forward-proxy.exe --config config.yml) 2>"$work/log" &
pids+=($!)

port=""
for _ in $(seq 1 120); do
    port=$(sed -nE 's/.*listening.*addr="?127\.0\.0\.1:([0-9]+).*/\1/p' "$work/log" | head -n 1)
    [ -n "$port" ] && [ -s "$work/port" ] && grep -q ready "$work/log" && break
    sleep 0.5
done
if [ -z "$port" ]; then
    echo "the program did not start:"
    cat "$work/log"
    exit 1
fi

answer=$(curl -sS --max-time 20 -x "http://127.0.0.1:$port" "http://127.0.0.1:$(cat "$work/port")/index.html")
cat "$work/log"
if [ "$answer" = "hello through wine" ]; then
    echo "a request passed through the program under Wine"
else
    echo "unexpected answer: $answer"
    exit 1
fi
