# What `run.sh` and `bench/peer.sh` share: words, and a way to packages of other Debian releases. Sourced, not run.

say()   { printf '\n== %s\n' "$*"; }
shout() { printf '\n!! %s\n' "$*" >&2; }

# The mirror that this machine's apt uses; nothing when none is configured.
debian_mirror() {
    awk '/^URIs:/{print $2; found=1; exit} END{exit !found}' /etc/apt/sources.list.d/debian.sources 2>/dev/null && return
    [ -e /etc/apt/sources.list ] || return
    awk '$1=="deb"{for(i=2;i<=NF;i++) if($i ~ /^https?:/){print $i; exit}}' /etc/apt/sources.list
}

# An apt state of its own in DIR for the release SUITE, so that the system's lists stay as they are: `apt-get -c
# DIR/apt.conf`. Says so when there can be none; WHAT is what will be missed then.
apt_state() {
    local apt=$1 suite=$2 what=$3 mirror
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        shout "$what cannot be fetched without apt-get and dpkg-deb; the tests that need it will be SKIPPED"
        return 1
    fi
    mirror=$(debian_mirror)
    if [ -z "$mirror" ]; then
        shout "no Debian mirror is configured here to fetch $what from; the tests that need it will be SKIPPED"
        return 1
    fi
    rm -rf "$apt"
    mkdir -p "$apt"/{state/lists/partial,cache/archives/partial,packages,none}
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/sources.list"
    cat >"$apt/apt.conf" <<CONF
Dir::State "$apt/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/none";
Dir::Etc::preferencesparts "$apt/none";
APT::Sandbox::User "root";
Debug::NoLocking "1";
CONF
}
