//! Programs that destroy by what they are called, or by a word among their arguments.

use super::super::word::Word;
use super::{Verdict, destroys};

/// Certain: a whole database, cluster, volume, disk or repository goes.
const CERTAIN: bool = true;
/// It may be harmless, and then somebody says why.
const MAYBE: bool = false;

/// Programs that destroy whatever their arguments are, unless they only look.
const ALWAYS: &[(&str, bool)] = &[
    ("pg_dropcluster", CERTAIN),
    ("dropdb", CERTAIN),
    ("dropuser", MAYBE),
    ("pg_resetwal", CERTAIN),
    ("pg_resetxlog", CERTAIN),
    ("pg_rewind", CERTAIN),
    ("pg_archivecleanup", MAYBE),
    ("vacuumlo", MAYBE),
    ("wipefs", CERTAIN),
    ("blkdiscard", CERTAIN),
    ("shred", MAYBE),
    ("wipe", MAYBE),
    ("mkswap", CERTAIN),
    ("lvremove", CERTAIN),
    ("vgremove", CERTAIN),
    ("pvremove", CERTAIN),
    ("lvreduce", CERTAIN),
    ("vgreduce", MAYBE),
    ("sg_format", CERTAIN),
    ("newfs", CERTAIN),
    ("lxc-destroy", CERTAIN),
    ("mysql_install_db", MAYBE),
];

/// What only looks.
const LOOKS: &[&str] = &["--no-act", "--no-op", "--dry-run", "--version", "--help", "-?"];
/// Programs for which `-n` means that they only look.
const LOOKS_WITH_N: &[&str] =
    &["pg_resetwal", "pg_resetxlog", "pg_rewind", "pg_archivecleanup", "vacuumlo", "wipefs", "mke2fs"];

/// Program, the words that have to follow (alternatives by `|`), one of these options if there are any, what it is.
struct Row(&'static [&'static str], &'static [&'static str], &'static [&'static str], bool);

const DOCKERS: &[&str] = &["docker", "podman", "nerdctl"];
const COMPOSE: &[&str] = &["docker-compose", "podman-compose"];
const KUBE: &[&str] = &["kubectl", "oc"];
const AWS: &[&str] = &["aws"];

const ROWS: &[Row] = &[
    // Containers.
    Row(DOCKERS, &["volume", "rm|remove|prune"], &[], CERTAIN),
    Row(DOCKERS, &["system", "prune|reset"], &[], CERTAIN),
    Row(DOCKERS, &["compose", "down"], &["-v", "--volumes"], CERTAIN),
    Row(DOCKERS, &["compose", "rm"], &["-v", "--volumes"], CERTAIN),
    Row(DOCKERS, &["rm"], &["-v", "--volumes"], CERTAIN),
    Row(DOCKERS, &["container", "rm"], &["-v", "--volumes"], CERTAIN),
    Row(DOCKERS, &["pod", "rm"], &["-v", "--volumes"], CERTAIN),
    // Without its volumes: whatever lay in the container goes, which is all of it where a mount was wrong.
    Row(DOCKERS, &["compose", "down|rm"], &[], MAYBE),
    Row(DOCKERS, &["compose", "up|create"], &["-V", "--renew-anon-volumes"], MAYBE),
    Row(DOCKERS, &["rm"], &[], MAYBE),
    Row(DOCKERS, &["container|pod", "rm|remove|prune"], &[], MAYBE),
    Row(DOCKERS, &["stack", "rm|remove|down"], &[], MAYBE),
    Row(DOCKERS, &["secret|config", "rm|remove"], &[], MAYBE),
    Row(COMPOSE, &["down|rm"], &["-v", "--volumes"], CERTAIN),
    Row(COMPOSE, &["down|rm"], &[], MAYBE),
    Row(COMPOSE, &["up|create"], &["-V", "--renew-anon-volumes"], MAYBE),
    Row(KUBE, &["delete"], &[], MAYBE),
    Row(KUBE, &["replace"], &["--force"], MAYBE),
    Row(&["helm"], &["uninstall|delete|del|un"], &[], MAYBE),
    Row(&["velero"], &["backup|restore", "delete"], &[], MAYBE),
    Row(&["virsh"], &["vol-delete|pool-delete|vol-wipe"], &[], CERTAIN),
    Row(&["virsh"], &["undefine"], &["--remove-all-storage", "--storage", "--wipe-storage"], CERTAIN),
    Row(&["virsh"], &["snapshot-revert|snapshot-delete"], &[], MAYBE),
    Row(&["qm", "pct"], &["destroy|rollback|delsnapshot"], &[], CERTAIN),
    Row(&["lxc", "incus"], &["delete|rm|restore"], &[], CERTAIN),
    Row(&["machinectl"], &["remove|clean"], &[], CERTAIN),
    Row(&["vagrant"], &["destroy"], &[], CERTAIN),
    // Disks and volumes.
    Row(&["zfs"], &["destroy|rollback"], &[], CERTAIN),
    Row(&["zfs"], &["receive|recv"], &["-F"], CERTAIN),
    Row(&["zpool"], &["destroy|labelclear|create"], &[], CERTAIN),
    Row(&["btrfs"], &["subvolume|subvol|sub|su", "delete|del"], &[], CERTAIN),
    Row(&["mdadm"], &[], &["--zero-superblock", "--create", "-C"], CERTAIN),
    Row(&["cryptsetup"], &["erase|luksErase|luksFormat|reencrypt"], &[], CERTAIN),
    Row(&["nvme"], &["format|sanitize|delete-ns"], &[], CERTAIN),
    Row(
        &["hdparm"],
        &[],
        &["--security-erase", "--security-erase-enhanced", "--trim-sector-ranges"],
        CERTAIN,
    ),
    Row(&["badblocks"], &[], &["-w"], CERTAIN),
    Row(&["lvconvert"], &[], &["--merge", "--mergesnapshot"], CERTAIN),
    Row(&["snapper"], &["delete|rollback|undochange"], &[], MAYBE),
    Row(&["timeshift"], &[], &["--delete", "--delete-all", "--restore"], MAYBE),
    Row(&["rbd"], &["rm|remove|purge"], &[], CERTAIN),
    Row(&["rbd"], &["snap", "rollback|rm|purge"], &[], CERTAIN),
    Row(&["ceph"], &["osd|fs", "purge|destroy|pool|rm"], &[], CERTAIN),
    // Databases.
    Row(&["pg_restore"], &[], &["-c", "--clean"], MAYBE),
    Row(&["pgbackrest"], &["stanza-delete"], &[], CERTAIN),
    Row(&["pgbackrest"], &["expire"], &[], MAYBE),
    Row(&["pgbackrest"], &["restore"], &["--delta", "--force"], CERTAIN),
    Row(&["barman"], &["delete"], &[], CERTAIN),
    Row(&["barman"], &["cron"], &["--never"], MAYBE),
    Row(&["wal-g", "wal-e"], &["delete"], &[], CERTAIN),
    Row(&["repmgr"], &["standby", "clone"], &["-F", "--force"], CERTAIN),
    Row(&["patronictl"], &["remove|reinit"], &[], CERTAIN),
    Row(&["pgcopydb"], &["clone|fork|copy|restore"], &["--drop-if-exists"], MAYBE),
    Row(&["mysqladmin", "mariadb-admin"], &["drop"], &[], CERTAIN),
    Row(&["mongorestore"], &[], &["--drop"], MAYBE),
    Row(&["redis-cli", "valkey-cli", "keydb-cli"], &["flushall|flushdb"], &[], CERTAIN),
    Row(&["redis-cli", "valkey-cli"], &["shutdown", "nosave"], &[], MAYBE),
    Row(&["redis-cli", "valkey-cli"], &["del|unlink"], &[], MAYBE),
    Row(&["rabbitmqctl"], &["reset|force_reset|delete_queue|purge_queue|delete_vhost"], &[], MAYBE),
    Row(&["etcdctl"], &["del"], &[], MAYBE),
    Row(&["etcdctl", "etcdutl"], &["snapshot", "restore"], &["--force"], MAYBE),
    Row(&["consul"], &["kv", "delete"], &[], MAYBE),
    Row(&["vault"], &["delete|destroy"], &[], MAYBE),
    Row(&["vault"], &["kv", "delete|destroy"], &[], MAYBE),
    Row(&["influx"], &["delete"], &[], MAYBE),
    Row(&["influx"], &["bucket|org", "delete"], &[], MAYBE),
    Row(&["kafka-topics", "kafka-topics.sh"], &[], &["--delete"], MAYBE),
    Row(&["nodetool"], &["clearsnapshot|decommission|assassinate|removenode"], &[], MAYBE),
    Row(&["clickhouse-client"], &[], &["--drop"], MAYBE),
    Row(
        &["rails", "rake", "bundle"],
        &["db:drop|db:reset|db:purge|db:truncate_all|db:schema:load|db:setup"],
        &[],
        MAYBE,
    ),
    Row(&["artisan"], &["migrate:fresh|migrate:refresh|migrate:reset|db:wipe"], &[], MAYBE),
    Row(&["flyway"], &["clean"], &[], CERTAIN),
    Row(&["liquibase"], &["drop-all|dropAll|rollback"], &[], MAYBE),
    Row(&["prisma", "sequelize"], &["migrate", "reset"], &[], MAYBE),
    Row(&["sequelize", "sequelize-cli"], &["db:drop"], &[], MAYBE),
    Row(&["django-admin", "manage.py"], &["flush|reset_db|sqlflush"], &[], MAYBE),
    Row(&["alembic"], &["downgrade"], &[], MAYBE),
    Row(
        &["synadm"],
        &["media|room|history|user", "delete|purge|purge-empty|deactivate|old|cache"],
        &[],
        MAYBE,
    ),
    // Backups.
    Row(&["restic"], &["forget|prune"], &[], MAYBE),
    Row(&["borg"], &["delete|prune|compact|recreate"], &[], MAYBE),
    Row(&["kopia"], &["snapshot", "delete|expire"], &[], MAYBE),
    Row(
        &["duplicity"],
        &["remove-older-than|remove-all-but-n-full|remove-all-inc-of-but-n-full|cleanup"],
        &[],
        MAYBE,
    ),
    Row(&["duplicity"], &[], &["--remove-older-than"], MAYBE),
    Row(&["duply"], &["purge|purgeFull|purgeAuto|purgeIncr|cleanup"], &[], MAYBE),
    Row(&["rdiff-backup"], &["remove"], &[], MAYBE),
    Row(&["rdiff-backup"], &[], &["--remove-older-than"], MAYBE),
    Row(&["tarsnap"], &[], &["-d", "--nuke"], MAYBE),
    Row(&["proxmox-backup-client"], &["forget|prune"], &[], MAYBE),
    // Stores elsewhere.
    Row(AWS, &["s3", "rm|rb"], &[], MAYBE),
    Row(AWS, &["s3", "sync|mv"], &["--delete"], MAYBE),
    Row(&["gsutil"], &["rm|rb"], &[], MAYBE),
    Row(&["gsutil"], &["rsync"], &["-d"], MAYBE),
    Row(&["s3cmd", "s4cmd", "s5cmd"], &["del|rm|rb|expire"], &[], MAYBE),
    Row(&["s3cmd"], &["sync"], &["--delete-removed"], MAYBE),
    Row(&["mc"], &["rm|rb|mirror"], &["--recursive", "-r", "--force", "--remove"], MAYBE),
    Row(&["mc"], &["rm|rb"], &[], MAYBE),
    Row(&["rclone"], &["delete|purge|sync|deletefile|bisync|move|cleanup"], &[], MAYBE),
    Row(&["terraform", "tofu", "terragrunt"], &["destroy"], &[], CERTAIN),
    Row(
        &["terraform", "tofu", "terragrunt"],
        &["apply"],
        &["-auto-approve", "--auto-approve", "-destroy", "-replace"],
        MAYBE,
    ),
    Row(&["terraform", "tofu"], &["state", "rm"], &[], MAYBE),
    Row(&["pulumi"], &["destroy"], &[], CERTAIN),
    Row(&["cdk"], &["destroy"], &[], CERTAIN),
    Row(&["nomad"], &["volume", "delete"], &[], CERTAIN),
    // The system.
    Row(&["userdel"], &[], &["-r", "--remove"], MAYBE),
    Row(&["deluser"], &[], &["--remove-home", "--remove-all-files"], MAYBE),
    Row(&["bleachbit", "cleanmgr"], &[], &["-c", "--clean"], MAYBE),
];

/// Packages that take their data with them when they are purged.
const WITH_DATA: &[&str] = &[
    "postgres",
    "mysql",
    "mariadb",
    "mongo",
    "redis",
    "valkey",
    "slapd",
    "synapse",
    "docker",
    "couchdb",
    "influx",
    "rabbitmq",
    "elasticsearch",
    "opensearch",
    "nextcloud",
    "gitlab",
    "cassandra",
    "etcd",
];

/// What the program does with these arguments.
pub(super) fn judge(program: &str, args: &[Word]) -> Option<Verdict> {
    let looks = args.iter().any(|word| {
        let text = word.text.as_str();
        LOOKS.contains(&text)
            || text.starts_with("--dry-run=") && text != "--dry-run=none"
            || text == "-n" && LOOKS_WITH_N.contains(&program)
    });
    if let Some((_, certain)) = ALWAYS.iter().find(|(name, _)| *name == program) {
        if program == "wipefs" && args.iter().all(|word| !word.text.starts_with('-')) {
            // Without options it lists.
            return None;
        }
        return if looks { None } else { destroys(program, *certain) };
    }
    if program == "mkfs" || program.starts_with("mkfs.") || program == "mke2fs" {
        return if looks { None } else { destroys(program, CERTAIN) };
    }
    if looks {
        return None;
    }
    for Row(programs, words, options, certain) in ROWS {
        if !programs.contains(&program) {
            continue;
        }
        let Some(verb) = matched(words, args) else { continue };
        if options.is_empty() {
            return destroys(format!("{program} {verb}"), *certain);
        }
        if let Some(option) = options.iter().find(|option| args.iter().any(|word| gives(word, option))) {
            let verb = if verb.is_empty() { String::new() } else { format!(" {verb}") };
            return destroys(format!("{program}{verb} {option}"), *certain);
        }
    }
    generic(program, args)
}

/// True when a word is the option: `-v`, `-fv`, `--volumes`, `--volumes=true`.
fn gives(word: &Word, option: &str) -> bool {
    let text = word.text.as_str();
    if word.open && word.blank() {
        return false;
    }
    match option.strip_prefix("--") {
        Some(_) => {
            text == option
                || text.strip_prefix(option).is_some_and(|rest| rest.starts_with('=') && rest != "=false")
        }
        None if option.len() == 2 => {
            let letter = option.chars().nth(1).unwrap_or_default();
            text.starts_with('-') && !text.starts_with("--") && text.contains(letter)
        }
        None => text == option || text.starts_with(&format!("{option}=")),
    }
}

/// The words in their order, before any other word that is no option and no option's value.
fn matched(wanted: &[&str], args: &[Word]) -> Option<String> {
    let mut wanted = wanted.iter().peekable();
    let mut found = Vec::new();
    let mut value = false;
    for word in args {
        let Some(alternatives) = wanted.peek() else { break };
        let text = word.text.as_str();
        let fits = alternatives.split('|').find(|one| one.eq_ignore_ascii_case(text));
        if let Some(verb) = fits {
            found.push(verb);
            wanted.next();
            value = false;
        } else if text.starts_with('-') {
            value = !text.contains('=');
        } else if value {
            value = false;
        } else {
            return None;
        }
    }
    wanted.peek().is_none().then(|| found.join(" "))
}

/// Command lines of clouds, and packages.
fn generic(program: &str, args: &[Word]) -> Option<Verdict> {
    let has = |words: &[&str]| args.iter().find(|word| words.contains(&word.text.as_str()));
    match program {
        "aws" => {
            let verb = args.iter().find(|word| {
                ["delete-", "terminate-", "purge-", "deregister-", "batch-delete"]
                    .iter()
                    .any(|begin| word.text.starts_with(begin))
            })?;
            destroys(format!("aws {}", verb.text), MAYBE)
        }
        "gcloud" | "az" | "doctl" | "hcloud" | "openstack" | "linode-cli" | "scw" | "flyctl" | "heroku" => {
            let verb = has(&["delete", "destroy", "purge", "rm", "remove", "pg:reset", "rebuild"])?;
            destroys(format!("{program} {}", verb.text), MAYBE)
        }
        "npx" | "bundle" | "php" | "python" | "python3" | "pipenv" | "poetry" | "uv" => {
            // A framework's own command behind its launcher.
            let at = args
                .iter()
                .position(|word| !word.text.starts_with('-') && word.text != "exec" && word.text != "run")?;
            let inner = args.get(at)?.base().to_owned();
            if inner == program { None } else { judge(&inner, args.get(at + 1..)?) }
        }
        "apt" | "apt-get" | "aptitude" | "dpkg" => {
            let purges = has(&["purge", "--purge", "-P", "autopurge"])?;
            let package = args.iter().find(|word| {
                !word.known() || WITH_DATA.iter().any(|name| word.text.contains(name)) || word.text == "~c"
            })?;
            let name = if package.known() { format!(" {}", package.text) } else { String::new() };
            destroys(format!("{program} {}{name}", purges.text.trim_start_matches('-')), MAYBE)
        }
        _ => None,
    }
}
