//! What several checks of this family share: limits given in bytes or as a share of the WAL's file system, and where
//! that file system is.

use std::fmt;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::base::Size;
use crate::check::Context;
use crate::check::params::Percent;
use crate::world::files::Space;
use crate::world::pg::Session;

/// Where WAL ends now, on a primary and on a standby.
pub(super) const WAL_END: &str = "case when pg_catalog.pg_is_in_recovery() \
     then greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn()) \
     else pg_catalog.pg_current_wal_lsn() end";

/// A limit on WAL.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Limit {
    /// `20GiB`
    Bytes(Size),
    /// `25%` of the file system that holds the WAL.
    Share(Percent),
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.contains('%') {
            let share = serde_json::from_value(serde_json::Value::String(text));
            return share.map(Limit::Share).map_err(D::Error::custom);
        }
        let size: Size = text.parse().map_err(D::Error::custom)?;
        if size.0 == 0 {
            return Err(D::Error::custom("a limit of zero bytes can never hold; leave room for some WAL"));
        }
        Ok(Limit::Bytes(size))
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WalLimit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A size with its unit, or a share of the file system that holds the WAL: 20GiB or 25%.",
        })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Bytes(size) => write!(f, "{size}"),
            Limit::Share(share) => write!(f, "{share} of the WAL's file system"),
        }
    }
}

/// A limit in bytes, and a line about where they come from.
pub(super) struct Bytes {
    pub bytes: u64,
    pub remark: Option<String>,
}

impl Limit {
    /// In bytes. A share needs the file system, which only a server on this machine shows.
    pub(super) async fn bytes(self, cx: &Context, session: &Session) -> Result<Bytes, String> {
        match self {
            Limit::Bytes(size) => Ok(Bytes { bytes: size.0, remark: None }),
            Limit::Share(share) => {
                let space = space(cx, session).await?;
                let bytes = (space.total as f64 * share.0 / 100.0) as u64;
                let remark = format!(
                    "the WAL's file system, {}: {} in all, {} available",
                    space.path.display(),
                    Size(space.total),
                    Size(space.available)
                );
                Ok(Bytes { bytes, remark: Some(remark) })
            }
        }
    }
}

/// The file system that holds a server's WAL.
async fn space(cx: &Context, session: &Session) -> Result<Space, String> {
    if !session.is_local() {
        return Err("the server runs on another machine, whose file systems do not show here".to_owned());
    }
    let path = Path::new(&session.identity().data_directory).join("pg_wal");
    match cx.world.files.stat(&path).await? {
        Some(there) => cx.world.files.space(&there.path).await,
        None => Err(format!("{} is not there (a container's own path?)", path.display())),
    }
}

/// A number out of a row: absent, NULL and nonsense are all "not known".
pub(super) fn number(value: &Option<String>) -> Option<f64> {
    value.as_deref()?.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// Bytes out of a row; a negative difference of two moments is no difference.
pub(super) fn bytes(value: &Option<String>) -> Option<u64> {
    number(value).map(|number| number.max(0.0) as u64)
}
