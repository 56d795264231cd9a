#!/usr/bin/env bash
# Installs the built binary, a configuration and the units, and starts the service. Running it again changes what has changed
# and nothing else; a configuration that is there is never touched; a service that runs gets a new binary by a rolling
# restart.
#
#   scripts/install_systemd.sh [--binary FILE] [--socket] [--no-start]
#
#   --binary FILE   what to install (target/release/rust-forward-proxy)
#   --socket        let systemd open the port (rust-forward-proxy.socket)
#   --no-start      install only
#   DESTDIR=DIR     install below DIR and talk to no systemd, for packages and for trying it out
set -euo pipefail
cd "$(dirname "$0")/.."

name=rust-forward-proxy
binary=target/release/$name
socket=false
start=true
while [ $# -gt 0 ]; do
    case $1 in
    --binary)
        binary=${2:?"--binary needs a file"}
        shift
        ;;
    --socket) socket=true ;;
    --no-start) start=false ;;
    *)
        echo "install_systemd.sh: unknown argument $1 (see the top of the script)" >&2
        exit 64
        ;;
    esac
    shift
done

root=${DESTDIR:-}
if [ -z "$root" ] && [ "$(id -u)" != 0 ]; then
    echo "install_systemd.sh: root is needed (or DESTDIR, to try it out)" >&2
    exit 77
fi
if [ ! -x "$binary" ]; then
    echo "install_systemd.sh: $binary is not there: cargo build --release" >&2
    exit 69
fi

version=253
if command -v systemctl >/dev/null; then
    version=$(systemctl --version | sed -nE '1s/^systemd ([0-9]+).*/\1/p')
fi
changed=false
binary_changed=false

# place MODE SOURCE TARGET: by way of a new file, so that nobody ever sees half of it and a running binary is not written to.
place() {
    local mode=$1 source=$2 target=$root$3
    if cmp -s "$source" "$target" && [ "$(stat -c %a "$target")" = "${mode#0}" ]; then
        return 1
    fi
    mkdir -p "$(dirname "$target")"
    install -m "$mode" "$source" "$target.new"
    mv -f "$target.new" "$target"
    echo "installed $target"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if place 0755 "$binary" /usr/local/bin/$name; then
    changed=true
    binary_changed=true
fi

# Logs and sockets are where the unit allows them; what the service says goes to the journal.
sed -E -e 's|^(  socket_path:).*|\1 "/run/'$name'/admin.sock"|' \
    -e '/^logging:/,/^[a-z_]+:/ s|^(  file:).*|\1 null|' \
    -e '/^access_log:/,/^[a-z_]+:/ s|^(  file:).*|\1 "/var/log/'$name'/access.log"|' config.yml >"$work/config.yml"
if [ ! -e "$root/etc/$name/config.yml" ]; then
    place 0644 "$work/config.yml" /etc/$name/config.yml
    changed=true
fi

if place 0644 scripts/$name.logrotate /etc/logrotate.d/$name; then
    changed=true
fi

cp scripts/$name.service scripts/$name.socket "$work/"
if [ "$version" -lt 253 ]; then
    # notify-reload came with 253; before that, systemctl reload returns when the signal is sent.
    # shellcheck disable=SC2016 # systemd expands it
    sed -i -e 's/^Type=notify-reload/Type=notify\nExecReload=kill -HUP $MAINPID/' "$work/$name.service"
fi
units_changed=false
for unit in $name.service $name.socket; do
    if place 0644 "$work/$unit" "/etc/systemd/system/$unit"; then
        changed=true
        units_changed=true
    fi
done

if [ -z "$root" ]; then
    if $units_changed; then
        systemctl daemon-reload
    fi
    if $socket; then
        systemctl enable --quiet $name.socket
    fi
    systemctl enable --quiet $name.service
    if $start; then
        if systemctl is-active --quiet $name.service; then
            if $binary_changed; then
                systemctl kill --kill-who=main --signal=USR2 $name.service
                echo "a rolling restart brings the new binary"
            fi
            if $units_changed; then
                echo "the new unit is in force after: systemctl restart $name"
            fi
        else
            if $socket; then
                systemctl start $name.socket
            fi
            systemctl start $name.service
            echo "started: systemctl status $name"
        fi
    fi
fi

if ! $changed; then
    echo "nothing has changed"
fi
