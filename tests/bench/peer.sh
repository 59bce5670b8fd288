#!/usr/bin/env bash
# Fetches pgcopydb 0.17, which knows `compare data`, from Debian 13's packages: unpacked below target/, started by that
# release's own loader where this system's libc is older. Prints the path for HOLDPOINT_BENCH_PGCOPYDB:
#
#   HOLDPOINT_BENCH_PGCOPYDB=$(tests/bench/peer.sh) cargo bench --bench data
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
. tests/fetch.sh

target=${CARGO_TARGET_DIR:-$PWD/target}
peer=$target/pgcopydb new=$target/pgcopydb.new apt=$target/pgcopydb-apt
if [ ! -x "$peer/pgcopydb" ]; then
    apt_state "$apt" trixie pgcopydb || exit 1
    say "fetching pgcopydb (Debian 13 packages, unpacked into ${peer#"$PWD"/})" >&2
    rm -rf "$new"
    (
        apt-get -qq -c "$apt/apt.conf" update &&
            cd "$apt/packages" &&
            apt-get -qq -c ../apt.conf download \
                pgcopydb libpq5 libc6 libgc1 libssl3t64 libsqlite3-0 libncursesw6 libtinfo6 libreadline8t64 libzstd1 zlib1g libldap2 &&
            for package in *.deb; do dpkg-deb -x "$package" "$new" || exit 1; done
    ) >&2 || { rm -rf "$apt" "$new"; shout "pgcopydb could not be fetched (offline?)"; exit 1; }
    cat >"$new/pgcopydb" <<'START'
#!/bin/sh
base=$(dirname "$(readlink -f "$0")")
own=$(echo "$base"/usr/lib/*-linux-gnu)
exec "$(echo "$base"/usr/lib64/ld-linux-*)" --library-path "$own:${own#"$base"}" "$base/usr/bin/pgcopydb" "$@"
START
    chmod +x "$new/pgcopydb"
    "$new/pgcopydb" compare data --help >/dev/null 2>&1 || { rm -rf "$apt" "$new"; shout "pgcopydb does not start here"; exit 1; }
    rm -rf "$peer" && mv "$new" "$peer"
    rm -rf "$apt"
fi
echo "$peer/pgcopydb"
