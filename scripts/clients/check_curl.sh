#!/usr/bin/env bash
# curl: GET, POST and chunked upload over http and https, two on one connection, HTTP/1.0.
set -euo pipefail
curl=(curl -sS --fail --max-time 30 --noproxy "" -x "$VIA" --cacert "$CA")

expect() {
    if [ "$1" != "$2" ]; then
        echo "expected '$2', got '$1'"
        exit 1
    fi
}

body=$(mktemp)
trap 'rm -f "$body" "$body.back"' EXIT
head -c 5000000 /dev/urandom >"$body"
for origin in $ORIGINS; do
    expect "$("${curl[@]}" "$origin/hello")" hello
    expect "$("${curl[@]}" --http1.0 "$origin/hello")" hello
    expect "$("${curl[@]}" "$origin/hello" "$origin/hello" | wc -l | tr -d ' ')" 2
    expect "$("${curl[@]}" -d a=b "$origin/echo")" a=b
    "${curl[@]}" --data-binary "@$body" -o "$body.back" "$origin/echo"
    cmp "$body" "$body.back"
    "${curl[@]}" -H "Transfer-Encoding: chunked" --data-binary "@$body" -o "$body.back" "$origin/echo"
    cmp "$body" "$body.back"
done
