//! Is there room for a copy of a whole cluster, on every file system that it touches: data, write-ahead log, tablespaces,
//! temporary files, logs, the dump? Measured before anything is copied, as the server's own user would find it.

mod needs;
mod source;
mod volumes;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::backing;
use crate::base::{Size, Span};
use crate::check::params::{Amount, Ratio};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::world::files::Space;
use needs::Need;
use source::Source;
use volumes::{Keep, Volume};

/// How the cluster is copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// pg_dump and pg_restore: every row is written anew, every index built.
    #[default]
    Dump,
    /// pg_upgrade --copy, or a copy of the files.
    PgUpgradeCopy,
    /// pg_upgrade --link: hard links, on the same file system.
    Link,
    /// pg_upgrade --clone: shared blocks, on the same file system.
    Clone,
    /// pg_upgrade --swap (18 and later): directories are moved, on the same file system.
    Swap,
}

/// Is there room for a copy of a whole cluster?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CapacityForCopy {
    /// The server that is copied.
    #[schemars(extend("format" = "target"))]
    source: String,
    /// How it is copied; `dump` when not given, which needs most.
    #[serde(default)]
    method: Method,
    /// The data directory of the copy, which need not exist yet.
    into: String,
    /// Where the copy's write-ahead log will be; `pg_wal` in `into`, a link followed, when not given.
    #[serde(default)]
    wal_into: Option<String>,
    /// Where the copy's tablespaces will be; when not given, each where the source has it.
    #[serde(default)]
    tablespaces_into: Option<String>,
    /// A directory that the dump is written to first. Leave it out when nothing is written in between.
    #[serde(default)]
    dump_to: Option<String>,
    /// How large the dump may get, as a part of the databases; 1 when not given. A compressed one is smaller, but nobody
    /// knows how much before it is there.
    #[serde(default)]
    dump_ratio: Option<Ratio>,
    /// Room for the copy's write-ahead log; the source's `max_wal_size` when not given.
    #[serde(default)]
    wal_room: Option<Size>,
    /// What must stay available on each file system after the copy: a size or a share. When not given, 10 % and at
    /// least 5 GiB.
    #[serde(default)]
    keep_free: Option<Amount>,
    /// Kinds of file system whose free space you vouch for although it may not be what can be written: `nfs4`, `overlay`,
    /// `btrfs`, `thin` and so on, as the evidence names them.
    #[serde(default)]
    trust: Vec<String>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "capacity_for_copy",
    summary: "a copy of a whole cluster fits, on every file system that it touches",
    docs: include_str!("capacity_for_copy.md"),
    timeout: Some(Span::secs(300)),
    schema: || schema_for!(CapacityForCopy),
    build,
};

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: CapacityForCopy = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if matches!(check.keep_free, Some(Amount::Times { .. })) {
        return Err("`keep_free` is a size or a share, as in 5GiB or 10%".to_owned());
    }
    if check.dump_ratio.is_some() && check.dump_to.is_none() {
        return Err("`dump_ratio` says how large a dump gets, and `dump_to` is missing".to_owned());
    }
    if check.wal_room == Some(Size(0)) {
        return Err("`wal_room` is zero: no server runs without a write-ahead log".to_owned());
    }
    Ok(Box::new(check))
}

#[async_trait]
impl Check for CapacityForCopy {
    fn targets(&self) -> Vec<String> {
        vec![self.source.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let keep = self.keep();
        let wanted = format!("room for a copy, and {keep} left on each file system");
        let source = match source::ask(&self.source, &wanted, cx).await {
            Ok(source) => source,
            Err(outcome) => return *outcome,
        };
        let outcome = match self.needs(&source) {
            Err(why) => Outcome::unknown(why.0, wanted).help(why.1),
            Ok(needs) => match self.volumes(needs, cx).await {
                Err(why) => Outcome::unknown(why, wanted)
                    .help("run this as a user who may look there, then measure again"),
                Ok(volumes) => {
                    let apart = self.apart(&source, &volumes, cx).await;
                    volumes::judge(&volumes, keep, apart, wanted)
                }
            },
        };
        let outcome = source.notes.iter().fold(outcome, |outcome, line| outcome.detail(line.as_str()));
        outcome.on(&self.source, source.identity)
    }
}

/// What is in the way of an answer, and what to do.
type Obstacle = (String, &'static str);

impl CapacityForCopy {
    fn keep(&self) -> Keep {
        match &self.keep_free {
            Some(Amount::Bytes(size)) => Keep { share: 0.0, least: size.0 },
            Some(Amount::Share(share)) => Keep { share: share.0, least: 0 },
            _ => Keep::default(),
        }
    }

    /// What will be written where.
    fn needs(&self, source: &Source) -> Result<Vec<Need>, Obstacle> {
        let into = PathBuf::from(&self.into);
        let wal = match self.wal_room.map(|size| size.0).or(source.max_wal_size) {
            Some(bytes) => bytes,
            None => {
                let why = format!("the max_wal_size of {} is not known: the server is stopped", self.source);
                return Err((why, "give `wal_room`, or measure while the server runs"));
            }
        };
        let places = needs::Places {
            wal: self.wal_into.as_ref().map_or_else(|| into.join("pg_wal"), PathBuf::from),
            tablespaces: self.tablespaces_into.as_ref().map(PathBuf::from),
            dump: self
                .dump_to
                .as_ref()
                .map(|path| (path.into(), self.dump_ratio.map_or(1.0, |ratio| ratio.0))),
            into,
        };
        needs::of(source, self.method, wal, &places)
            .map_err(|why| (format!("{}: {why}", self.source), "measure while the server runs"))
    }

    /// Asks every file system once.
    async fn volumes(&self, needs: Vec<Need>, cx: &Context) -> Result<Vec<Volume>, String> {
        let mut volumes: Vec<Volume> = Vec::new();
        for need in needs {
            let space: Space =
                cx.world.files.space(&need.path).await.map_err(|why| {
                    format!("the file system for {} could not be measured: {why}", need.what)
                })?;
            let doubt = backing::doubt(&space, cx).await.filter(|doubt| !self.trust.contains(&doubt.word));
            volumes::add(&mut volumes, space, need, doubt);
        }
        Ok(volumes)
    }

    /// For methods that share blocks: why they cannot, if so.
    async fn apart(
        &self,
        source: &Source,
        volumes: &[Volume],
        cx: &Context,
    ) -> Option<Result<String, String>> {
        if !matches!(self.method, Method::Link | Method::Clone | Method::Swap) {
            return None;
        }
        let old = match cx.world.files.space(&source.data_directory).await {
            _ if !source.local => Err(format!("the files of {} are on another machine", self.source)),
            Err(why) => Err(why),
            Ok(space) => Ok(space),
        };
        let old = match old {
            Ok(old) => old,
            Err(why) => return Some(Err(format!("nobody can see whether both share a file system: {why}"))),
        };
        let new = match cx.world.files.space(Path::new(&self.into)).await {
            Ok(new) => new,
            Err(why) => return Some(Err(why)),
        };
        if old.device != new.device {
            return Some(Ok(format!(
                "{} and {} are on two file systems, and this method needs one",
                source.data_directory.display(),
                self.into
            )));
        }
        let kind = new.kind.as_deref().unwrap_or("unknown");
        let clones = ["btrfs", "xfs", "zfs", "bcachefs", "ocfs2", "nfs4", "cifs", "overlay"].contains(&kind);
        let known = volumes.iter().any(|volume| volume.space.device == new.device);
        (self.method == Method::Clone && !clones && known)
            .then(|| Ok(format!("{kind} cannot share blocks between files")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_that_make_no_sense_are_refused() {
        let refused = |params: Value| build(params.as_object().unwrap().clone()).err().unwrap_or_default();
        let with = |key: &str, value: Value| json!({ "source": "old", "into": "/new", key: value });
        assert!(refused(with("keep_free", json!({ "times": 2, "size_of": "old" }))).contains("keep_free"));
        assert!(refused(with("dump_ratio", json!(0.3))).contains("dump_to"));
        assert!(refused(with("wal_room", json!("0B"))).contains("wal_room"));
        assert!(refused(with("method", json!("copy"))).contains("pg_upgrade_copy"));
        assert_eq!(refused(with("method", json!("swap"))), "");
        assert_eq!(refused(json!({ "source": "old", "into": "/new" })), "");
    }
}
