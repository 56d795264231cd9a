#!/usr/bin/env bash
# git clone over http and https, from a git server and from plain files.
set -euo pipefail
if ! command -v git >/dev/null; then
    echo "git is not installed"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 GIT_SSL_CAINFO=$CA
for origin in $ORIGINS; do
    for server in smart dumb; do
        git -c http.proxy="$VIA" -c http.noProxy= \
            clone -q "$origin/$server/sample.git" "$work/$server"
        cmp "$work/$server/large" "$REPOSITORIES/large"
        rm -rf "${work:?}/$server"
    done
done
