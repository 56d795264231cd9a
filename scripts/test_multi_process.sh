#!/usr/bin/env bash
# Starts the proxy with four worker processes and shows that all four answer. Exit 0 when they do.
#
# Needs curl and python3; builds the release binary when there is none. Everything else is in a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/.."

workers=4
binary="${PROXY_BINARY:-$PWD/target/release/rust-forward-proxy}"
for tool in curl python3; do
    if ! command -v "$tool" >/dev/null; then
        echo "$tool is needed and missing"
        exit 1
    fi
done
if [ ! -x "$binary" ]; then
    echo "== no $binary yet: cargo build --release"
    cargo build --release
fi

work=$(mktemp -d)
launcher=""
origin=""
cleanup() {
    [ -z "$launcher" ] || kill "$launcher" 2>/dev/null || true
    [ -z "$origin" ] || kill "$origin" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

# Waits until a command succeeds, at most 15 seconds.
await() {
    local what=$1
    shift
    for _ in $(seq 150); do
        if "$@" >/dev/null 2>&1; then
            return 0
        fi
        sleep 0.1
    done
    echo "FAILED: $what"
    [ ! -s "$work/stderr" ] || cat "$work/stderr"
    exit 1
}

python3 -u - "$work/port" <<'PY' &
import http.server, pathlib, sys

class Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
pathlib.Path(sys.argv[1]).write_text(f"{server.server_port}\n")
server.serve_forever()
PY
origin=$!
await "the origin did not start" test -s "$work/port"
url="http://127.0.0.1:$(cat "$work/port")/"

# The environment is what the documents say; the file keeps this instance out of the way of any other.
printf 'listen_addr: "127.0.0.1:0"\nadmin:\n  listen_addr: null\n' >"$work/config.yml"
(
    cd "$work"
    PROXY_RUNTIME_MODE=multi_process PROXY_PROCESS_COUNT=$workers PROXY_USE_REUSEPORT=true exec "$binary" 2>stderr
) &
launcher=$!
is_ready() { grep -q " ready .*pid=$launcher\b" "$work/stderr"; }
await "the proxy did not become ready" is_ready
address=$(sed -n 's/.* listening .*addr=\([^ ]*\).*/\1/p' "$work/stderr" | head -n 1)

echo "== the launcher and its workers"
if command -v ps >/dev/null; then
    ps -o pid,ppid,args -p "$launcher" --ppid "$launcher"
fi
running=$(grep -c " ready .*worker=" "$work/stderr")
if [ "$running" -ne "$workers" ]; then
    echo "FAILED: $running workers run, $workers were asked for"
    exit 1
fi

echo "== the log"
grep -h -E "Starting multi-process mode|Child process [0-9]+ initializing" "$work/stderr"

# Each curl is a connection of its own, and the kernel spreads connections: a few dozen reach all of four.
echo "== requests through $address"
answered() { sed -n 's/.*"worker":\([0-9]*\).*/\1/p' "$work/logs/access.log" 2>/dev/null | sort -n | uniq -c; }
sent=0
while [ "$sent" -lt 400 ]; do
    for _ in $(seq 20); do
        body=$(curl -sS --max-time 10 --noproxy "" -x "http://$address" "$url")
        if [ "$body" != hello ]; then
            echo "FAILED: the answer was '$body'"
            exit 1
        fi
        sent=$((sent + 1))
    done
    if [ "$(answered | wc -l)" -eq "$workers" ]; then
        break
    fi
done
# The last lines are written in batches.
all_logged() { [ "$(answered | awk '{ sum += $1 } END { print sum + 0 }')" -eq "$sent" ]; }
await "the access log has not a line for each request" all_logged
answered | while read -r count worker; do
    echo "worker $worker answered $count requests"
done
if [ "$(answered | wc -l)" -ne "$workers" ]; then
    echo "FAILED: after $sent requests not all $workers workers had answered"
    exit 1
fi

kill -TERM "$launcher"
status=0
wait "$launcher" || status=$?
launcher=""
if [ "$status" -ne 0 ]; then
    echo "FAILED: the launcher ended with $status"
    cat "$work/stderr"
    exit 1
fi
echo "== $workers workers answered $sent requests; all ended with 0"
