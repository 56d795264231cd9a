#!/usr/bin/env bash
# Real clients through the proxy, in all three modes: curl, Python (urllib, requests, httpx), Node, git, WebSocket,
# server-sent events; and by TLS and HTTP/2 to the proxy: libcurl of today (pycurl), hyper-h2, Node, Chromium, h2spec.
# Prints a table; exit 0 when nothing failed. What cannot be had here is skipped, with the reason.
#
# Builds the release binary when there is none (PROXY_BINARY names another). Clients that are not installed are
# fetched with pip and npm into a temporary folder; Chromium (CHROMIUM) and h2spec (H2SPEC) have to be there.
# MODES and CHECKS name some of them instead of all.
set -euo pipefail
cd "$(dirname "$0")/.."

binary="${PROXY_BINARY:-$PWD/target/release/rust-forward-proxy}"
for tool in curl python3 openssl; do
    if ! command -v "$tool" >/dev/null; then
        echo "$tool is needed and missing"
        exit 1
    fi
done
if [ ! -x "$binary" ]; then
    echo "== no $binary yet: cargo build --release"
    cargo build --release
fi
clients=$PWD/scripts/clients
read -ra modes <<<"${MODES:-single_threaded multi_threaded multi_process}"
read -ra checks <<<"${CHECKS:-curl.sh urllib.py requests.py httpx.py fetch.mjs git.sh websocket.py events.py \
libcurl.py h2.py http2.mjs chromium.mjs h2spec.sh}"

work=$(mktemp -d)
proxy=""
origins=""
# shellcheck disable=SC2317  # the trap calls it
cleanup() {
    [ -z "$proxy" ] || kill "$proxy" 2>/dev/null || true
    [ -z "$origins" ] || kill "$origins" 2>/dev/null || true
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
    cat "$work"/*.log 2>/dev/null || true
    exit 1
}

echo "== clients"
python=python3
if python3 -m venv "$work/venv" >"$work/pip.log" 2>&1; then
    python=$work/venv/bin/python
    for package in requests 'httpx[http2]' websockets h2 pycurl; do
        "$python" -m pip install -q --disable-pip-version-check "$package" >>"$work/pip.log" 2>&1 \
            || echo "$package could not be installed: $(tail -n 1 "$work/pip.log")"
    done
else
    echo "no Python environment could be made: $(tail -n 1 "$work/pip.log")"
fi
mkdir "$work/node"
if command -v npm >/dev/null; then
    (cd "$work/node" && npm install --silent --no-audit --no-fund undici@6 playwright-core >"$work/npm.log" 2>&1) \
        || echo "undici and playwright-core could not be installed: $(tail -n 1 "$work/npm.log")"
fi

echo "== origins"
new_key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2)
{
    openssl req -x509 "${new_key[@]}" -subj /CN=authority -keyout "$work/ca-key.pem" -out "$work/ca.pem"
    openssl req "${new_key[@]}" -subj /CN=localhost -keyout "$work/key.pem" -out "$work/request.pem"
    printf '%s\n' basicConstraints=critical,CA:FALSE subjectAltName=DNS:localhost,IP:127.0.0.1 >"$work/extensions"
    openssl x509 -req -in "$work/request.pem" -CA "$work/ca.pem" -CAkey "$work/ca-key.pem" -CAcreateserial -days 2 \
        -extfile "$work/extensions" -out "$work/cert.pem"
} 2>"$work/openssl.log"
mkdir "$work/repositories"
head -c 3000000 /dev/urandom >"$work/repositories/large"
if command -v git >/dev/null; then
    (
        export GIT_CONFIG_GLOBAL=/dev/null
        git init -q "$work/sample"
        cp "$work/repositories/large" "$work/sample/large"
        cd "$work/sample"
        git add large
        git -c user.name=sample -c user.email=sample@localhost commit -q -m sample
        git clone -q --bare "$work/sample" "$work/repositories/sample.git"
        git -C "$work/repositories/sample.git" update-server-info
    ) 2>"$work/git.log"
fi
python3 "$clients/origins.py" "$work/ports" "$work/repositories" "$work/cert.pem" "$work/key.pem" 2>"$work/origins.log" &
origins=$!
await "the origins did not start" test -s "$work/ports"
read -r http_port https_port <"$work/ports"

declare -A results
failed=0
for mode in "${modes[@]}"; do
    echo "== $mode"
    mkdir "$work/$mode"
    cat >"$work/$mode/config.yml" <<YAML
listen_addr: "127.0.0.1:0"
runtime:
  mode: "$mode"
  process_count: 4
tls:
  listen_addr: "127.0.0.1:0"
  cert_path: "$work/cert.pem"
  key_path: "$work/key.pem"
upstream:
  tls:
    ca_path: "$work/ca.pem"
admin:
  listen_addr: null
YAML
    (cd "$work/$mode" && exec "$binary" 2>"$work/$mode.log") &
    proxy=$!
    await "the proxy did not become ready" grep -q " ready .*pid=$proxy\b" "$work/$mode.log"
    address=$(sed -n 's/.* listening .*addr=\([^ ]*\) tls=false.*/\1/p' "$work/$mode.log" | head -n 1)
    encrypted=$(sed -n 's/.* listening .*addr=[^ ]*:\([0-9]*\) tls=true.*/\1/p' "$work/$mode.log" | head -n 1)
    for check in "${checks[@]}"; do
        case $check in
            *.py) command=("$python" "$clients/check_$check") ;;
            *.mjs) command=(node "$clients/check_$check") ;;
            *.sh) command=(bash "$clients/check_$check") ;;
        esac
        status=0
        if ! command -v "${command[0]}" >/dev/null; then
            status=77
            echo "${command[0]} is not installed" >"$work/out.log"
        else
            env -u http_proxy -u https_proxy -u no_proxy -u HTTP_PROXY -u HTTPS_PROXY -u NO_PROXY -u ALL_PROXY \
                VIA="http://$address" VIA_TLS="https://localhost:$encrypted" CA="$work/ca.pem" \
                ACCESS_LOG="$work/$mode/logs/access.log" NODE_FOLDER="$work/node" REPOSITORIES="$work/repositories" \
                ORIGINS="http://127.0.0.1:$http_port https://localhost:$https_port" \
                timeout 120 "${command[@]}" >"$work/out.log" 2>&1 || status=$?
        fi
        case $status in
            0) results[$mode,$check]=ok ;;
            77) results[$mode,$check]=skipped ;;
            *)
                results[$mode,$check]=FAILED
                failed=1
                ;;
        esac
        # What a check has to say: why it failed, was skipped, or did less than all.
        if [ -s "$work/out.log" ]; then
            sed "s/^/$check: /" "$work/out.log"
        fi
    done
    kill -TERM "$proxy"
    status=0
    wait "$proxy" || status=$?
    proxy=""
    if [ "$status" -ne 0 ]; then
        echo "FAILED: the proxy ended with $status"
        cat "$work/$mode.log"
        failed=1
    fi
done

printf '\n%-14s' client
printf '%-18s' "${modes[@]}"
printf '\n'
for check in "${checks[@]}"; do
    printf '%-14s' "${check%.*}"
    for mode in "${modes[@]}"; do
        printf '%-18s' "${results[$mode,$check]}"
    done
    printf '\n'
done
exit "$failed"
