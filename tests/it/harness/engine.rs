//! Container engines for real: Docker and Podman of Debian, in an overlay over this machine's own root and in
//! namespaces of its own (mounts, processes, network, IPC, cgroups). No registry is needed: images are made of this
//! machine's own files. Everything ends with the value, or with the test program, however that ends: the first process
//! reads a pipe that we hold, and a shell outside removes the cgroups after it.
//!
//! The engines are unpacked, not installed, by `tests/run.sh`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use holdpoint::check::Outcome;
use serde_json::{Value, json};

use super::must;

/// An engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Debian 12's: no label on anonymous volumes, no compose.
    Docker20,
    /// Debian 13's, with compose.
    Docker26,
    /// Debian 12's.
    Podman4,
}

/// Runs outside: makes a cgroup in every hierarchy, starts the sandbox in it, and removes it afterwards.
const AROUND: &str = r#"
set -eu
exec 3<&0
setup=$1; shift
made=()
cleanup() {
    for try in {1..100}; do
        left=0
        for group in "${made[@]}"; do
            [ -d "$group" ] || continue
            while read -r process; do kill -9 "$process" 2>/dev/null || true; done <"$group/cgroup.procs"
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || left=1
        done
        [ $left = 0 ] && break
        sleep 0.1
    done
}
trap cleanup EXIT
while IFS=: read -r _ controllers path; do
    case $controllers in
        '') place=unified; [ -d /sys/fs/cgroup/unified ] || place=. ;;
        name=*) place=${controllers#name=} ;;
        *) place=$controllers ;;
    esac
    parent=/sys/fs/cgroup/$place${path%/}
    group=$parent/holdpoint-test-$$
    mkdir "$group"
    made+=("$group")
    case $controllers in *cpuset*)
        cat "$parent/cpuset.cpus" >"$group/cpuset.cpus"
        cat "$parent/cpuset.mems" >"$group/cpuset.mems" ;;
    esac
done </proc/self/cgroup
(
    for group in "${made[@]}"; do echo "$BASHPID" >"$group/cgroup.procs"; done
    exec unshare --cgroup --mount --pid --net --ipc --uts --fork --kill-child -- bash -c "$setup" setup "$@" <&3
) &
wait $!
"#;

/// Runs as the first process of the sandbox. `$1` is an empty directory of this machine, the rest are trees of
/// programs to put over this machine's.
const SETUP: &str = r#"
set -eu
read -r pid _ </proc/self/stat
ip link set lo up
dir=$1; shift
mount -t tmpfs -o size=6g,mode=0755 tmpfs "$dir"
cd "$dir"
mkdir upper work root disk
for tree; do cp -a "$tree/usr" upper/; done
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
# Storage that is not in memory, as far as anybody inside can see.
truncate -s 4G disk.img
mkfs.ext4 -q -O ^has_journal -E lazy_itable_init=1 disk.img
mount -o loop disk.img disk
cd root
mount -t proc proc proc
mount -t sysfs sysfs sys
if [ "$(wc -l </proc/self/cgroup)" = 1 ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mkdir sys/fs/cgroup/first
    echo 0 >sys/fs/cgroup/first/cgroup.procs
    for controller in $(cat sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" >sys/fs/cgroup/cgroup.subtree_control || true
    done
else
    mount -t tmpfs -o mode=0755 cgroup sys/fs/cgroup
    while IFS=: read -r _ controllers _; do
        case $controllers in
            '') set -- unified cgroup2 '' ;;
            name=*) set -- "${controllers#name=}" cgroup "none,$controllers" ;;
            *) set -- "$controllers" cgroup "$controllers" ;;
        esac
        mkdir "sys/fs/cgroup/$1"
        mount -t "$2" ${3:+-o "$3"} "$2" "sys/fs/cgroup/$1"
    done </proc/self/cgroup
fi
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=0755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p run/lock srv mnt old etc/containers
mount --move ../disk srv
mkdir srv/engine
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >etc/containers/policy.json
printf '[storage]\ndriver="overlay"\nrunroot="/run/storage"\ngraphroot="/srv/engine"\n' >etc/containers/storage.conf
printf '[engine]\nruntime="runc"\n' >etc/containers/containers.conf
for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    [ -e usr/sbin/$name ] || ln -s xtables-nft-multi usr/sbin/$name
done
touch etc/throw-away
trap '' CHLD
# Not chroot: what is run in a container later enters the mount namespace again, and would land on its real root.
pivot_root . old
exec chroot . bash -c 'umount -l /old; echo "ready $1"; exec cat' ready "$pid"
"#;

/// Makes two images of this machine's own files: `box`, which has a shell and little more, and with `postgres` in `$1`
/// also `pg`, with a PostgreSQL 15 that makes a cluster in $PGDATA when there is none, as the well-known image does.
const IMAGES: &str = r#"
engine=$1; what=${2:-}
mkdir -p /tmp/box/bin /tmp/box/tmp; cp "$(command -v busybox)" /tmp/box/bin/busybox
for name in sh sleep ls cat mkdir ln mv; do ln -s busybox /tmp/box/bin/$name; done
tar -C /tmp/box -c . | $engine import -c 'ENV PATH=/bin' - box >/dev/null
[ "$what" = postgres ] || exit 0
root=/tmp/pg; home=/usr/lib/postgresql/15
mkdir -p $root$home $root/usr/share/postgresql $root/etc $root/run $root/sock $root/var/lib/postgresql/data $root/lost
cp -a /tmp/box/. $root/
cp -a $home/bin $root$home/; mkdir $root$home/lib; cp -a $home/lib/*.so $root$home/lib/; rm -f $root$home/lib/llvmjit*
cp -a /usr/share/postgresql/15 $root/usr/share/postgresql/
cp -a --parents /usr/share/zoneinfo/UTC /usr/share/zoneinfo/Etc $root
for file in $home/bin/{postgres,initdb,psql} $home/lib/{plpgsql,dict_snowball}.so; do ldd $file | grep -o '/[^ ]*'; done |
    sort -u | xargs -I{} cp -L --parents {} $root
echo 'postgres:x:999:999::/var/lib/postgresql:/bin/sh' >$root/etc/passwd
echo 'postgres:x:999:' >$root/etc/group
printf '#!/bin/sh\necho C\n' >$root/bin/locale
cat >$root/entry.sh <<'ENTRY'
#!/bin/sh
[ -s "$PGDATA/PG_VERSION" ] || initdb -A trust -U postgres --no-sync -E UTF8 --locale=C $INITDB >/dev/null
exec postgres -c listen_addresses= -c unix_socket_directories=/sock -c fsync=off -c shared_buffers=16MB
ENTRY
chmod 0755 $root/entry.sh $root/bin/locale
chown -R 999:999 $root/var/lib/postgresql $root/lost
tar -C $root -c . | $engine import -c "ENV PATH=/bin:$home/bin" -c 'ENV PGDATA=/var/lib/postgresql/data' -c 'USER 999:999' \
    -c 'ENTRYPOINT ["/entry.sh"]' - plain >/dev/null
$engine create --network none --name template plain >/dev/null
$engine commit -c 'VOLUME /var/lib/postgresql/data' template pg >/dev/null 2>&1
$engine commit -c 'ENV PGDATA=/var/lib/postgresql/18/docker' -c 'VOLUME /var/lib/postgresql' template pg18 >/dev/null 2>&1
$engine rm template >/dev/null
rm -r /tmp/pg
"#;

/// What a command of the sandbox starts with.
const ENVIRONMENT: [&str; 4] = [
    "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LC_ALL=C.UTF-8",
    "PODMAN_IGNORE_CGROUPSV1_WARNING=1",
];

/// A running engine.
pub struct Engine {
    kind: Kind,
    around: Child,
    pid: u32,
    _dir: tempfile::TempDir,
}

impl Engine {
    /// A new one without images, containers and volumes; `holdpoint` is in the path.
    pub fn start(kind: Kind) -> Engine {
        let dir = tempfile::Builder::new().prefix("hp-engine-").tempdir().unwrap();
        let trees = match kind {
            Kind::Docker26 => vec![engines_dir().join("debian-12"), engines_dir().join("debian-13")],
            _ => vec![engines_dir().join("debian-12")],
        };
        let mut around = Command::new("bash")
            .args(["-c", AROUND, "around", SETUP])
            .arg(dir.path())
            .args(trees)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(around.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = line.trim().strip_prefix("ready ").and_then(|pid| pid.parse().ok());
        let mut engine = Engine { kind, around, pid: 0, _dir: dir };
        engine.pid = pid.expect("the sandbox did not come up");
        assert!(engine.path("/etc/throw-away").exists(), "its root is not its own");
        let binary = engine.path("/usr/local/sbin/holdpoint");
        super::copy_program(env!("CARGO_BIN_EXE_holdpoint"), &binary);
        // The other engine, and what this machine has itself of another version.
        let other = if kind == Kind::Podman4 { "docker" } else { "podman" };
        for path in ["/usr/local/bin/docker", "/usr/local/bin/podman", &format!("/usr/bin/{other}")] {
            let _ = std::fs::remove_file(engine.path(path));
        }
        if kind != Kind::Podman4 {
            engine.start_docker();
        }
        engine
    }

    fn start_docker(&self) {
        self.sh("setsid dockerd --data-root /srv/engine --exec-root /run/docker --pidfile /run/dockerd.pid \
             </dev/null >/run/dockerd.log 2>&1 & \
             for try in {1..2000}; do docker version >/dev/null 2>&1 && exit 0; sleep 0.1; done; \
             tail -30 /run/dockerd.log >&2; exit 1");
    }

    /// Ends a daemon that may hang, and starts it again. Its containers are stopped then.
    pub fn restart_docker(&self) {
        self.sh(
            "pid=$(cat /run/dockerd.pid); kill -9 $pid; while kill -0 $pid 2>/dev/null; do sleep 0.05; done; \
             rm -f /run/dockerd.pid",
        );
        self.start_docker();
    }

    /// With the image `box`.
    pub fn with_box(kind: Kind) -> Engine {
        let engine = Engine::start(kind);
        engine.script(IMAGES, &[engine.name()]);
        engine
    }

    /// Docker with the image `box` in containerd's store, the default of new installations from 29 on.
    pub fn with_containerd_store(kind: Kind) -> Engine {
        let engine = Engine::start(kind);
        engine.sh(
            "mkdir -p /etc/docker; echo '{ \"features\": { \"containerd-snapshotter\": true } }' >/etc/docker/daemon.json",
        );
        engine.restart_docker();
        engine.script(IMAGES, &[engine.name()]);
        engine
    }

    /// With the images `box`, `pg`, `pg18` and `plain`, the last three with PostgreSQL 15: the data directories and
    /// declared volumes of the well-known image up to 17, the same from 18 on, and one that declares no volume.
    pub fn with_postgres(kind: Kind) -> Engine {
        let engine = Engine::start(kind);
        engine.script(IMAGES, &[engine.name(), "postgres"]);
        engine
    }

    /// `docker` or `podman`.
    pub fn name(&self) -> &'static str {
        if self.kind == Kind::Podman4 { "podman" } else { "docker" }
    }

    /// A path of the sandbox as this machine sees it.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid))
    }

    /// A command that will run inside, as root, with a clean environment and nothing to read.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.command_at_terminal(program);
        command.stdin(Stdio::null());
        command
    }

    /// The same, for somebody who gives it a terminal.
    pub fn command_at_terminal(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--root", "--wd"]);
        command.args(["--target", &self.pid.to_string(), "--", "env", "-i"]);
        command.args(ENVIRONMENT).arg(program);
        command
    }

    #[track_caller]
    fn script(&self, script: &str, arguments: &[&str]) -> String {
        let output =
            must(self.command("bash").args(["-euo", "pipefail", "-c", script, "script"]).args(arguments));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a bash script inside, with the engine's name as `$e`; its standard output. Panics unless it succeeds.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.script(&format!("e={}; {script}", self.name()), &[])
    }

    /// Runs an image of PostgreSQL as container `name`, with more options, until it answers. Its socket is in
    /// `/run/NAME` of the sandbox.
    #[track_caller]
    pub fn postgres(&self, name: &str, options: &str, image: &str) {
        self.sh(&format!(
            "install -d -o 999 -g 999 /run/{name}; $e run -d --network none --name {name} -v /run/{name}:/sock {options} \
             {image} >/dev/null; for try in {{1..1500}}; do $e exec {name} psql -h /sock -U postgres -XAtqc 'select 1' \
             >/dev/null 2>&1 && exit 0; sleep 0.1; done; $e logs {name} >&2; exit 1"
        ));
    }

    /// Runs SQL in such a container.
    #[track_caller]
    pub fn sql(&self, name: &str, sql: &str) -> String {
        self.script(
            "\"$1\" exec \"$2\" psql -h /sock -U postgres -XAtq -v ON_ERROR_STOP=1 -c \"$3\"",
            &[self.name(), name, sql],
        )
    }

    /// Measures a check in the sandbox with the built program, as root.
    #[track_caller]
    pub fn look(&self, kind: &str, params: Value) -> Outcome {
        self.look_as(&[], kind, params)
    }

    /// The same through another program that starts it, such as `setpriv`.
    #[track_caller]
    pub fn look_as(&self, prefix: &[&str], kind: &str, params: Value) -> Outcome {
        let mut book = json!({
            "holdpoint": 1, "name": "look",
            "steps": [{ "id": "here", "manual": { "instructions": "look" }, "preconditions": [{ kind: params }] }],
        });
        if let Some(name) = params.get("target").and_then(Value::as_str) {
            book["targets"] =
                json!({ name: { "postgres": format!("host=/run/{name} user=postgres dbname=postgres") } });
        }
        let file =
            tempfile::Builder::new().prefix("look-").suffix(".yaml").tempfile_in(self.path("/tmp")).unwrap();
        std::fs::write(file.path(), book.to_string()).unwrap();
        std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let inside = Path::new("/tmp").join(file.path().file_name().unwrap());
        let words = [prefix, &["holdpoint"]].concat();
        let mut command = self.command(words[0]);
        command.args(&words[1..]).arg("check").arg(inside).args(["--json", "--store", "/tmp/store"]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let mut seen: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
        serde_json::from_value(seen["evidence"][0].take()).unwrap_or_else(|e| panic!("{e}: {said}"))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The end of the pipe is the end of the sandbox; what is around it then cleans up.
        drop(self.around.stdin.take());
        let _ = self.around.wait();
    }
}

/// Where the engines are: `HOLDPOINT_TEST_ENGINES`, else where `tests/run.sh` puts them.
fn engines_dir() -> PathBuf {
    let cached = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/engines");
    std::env::var_os("HOLDPOINT_TEST_ENGINES").map_or_else(cached, PathBuf::from)
}

/// Why an engine cannot run here; `None` when it can. Tried once in the life of the machine.
pub fn missing(kind: Kind) -> Option<String> {
    static TRIED: [OnceLock<Option<String>>; 3] = [const { OnceLock::new() }; 3];
    TRIED[kind as usize].get_or_init(|| look(kind)).clone()
}

fn look(kind: Kind) -> Option<String> {
    if !super::is_root() {
        return Some("needs root, for a container engine of its own".to_owned());
    }
    let trees = engines_dir();
    let program = match kind {
        Kind::Docker20 => trees.join("debian-12/usr/sbin/dockerd"),
        Kind::Docker26 => trees.join("debian-13/usr/sbin/dockerd"),
        Kind::Podman4 => trees.join("debian-12/usr/bin/podman"),
    };
    if !program.exists() || !trees.join("debian-12/usr/bin/busybox").exists() {
        return Some(format!("{kind:?} is not unpacked"));
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let note = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("engine-{kind:?}"));
    if let Ok(text) = std::fs::read_to_string(&note)
        && let Some(why) = text.strip_prefix(&boot)
    {
        return (!why.is_empty()).then(|| why.to_owned());
    }
    let tried = std::panic::catch_unwind(|| {
        let engine = Engine::with_box(kind);
        engine.sh("$e run --rm --network none box sleep 0");
        if kind != Kind::Podman4 {
            engine.sh("$e run --rm -p 20000:20000 box sleep 0");
        }
    });
    let why = match tried {
        Ok(()) => String::new(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            format!("{kind:?} does not start here: {}", text.lines().last().unwrap_or_default())
        }
    };
    let _ = std::fs::write(&note, format!("{boot}{why}"));
    (!why.is_empty()).then_some(why)
}
