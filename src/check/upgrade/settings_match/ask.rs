//! What a server says of its settings. Our own session has other values than new ones get; those are taken from beneath.

use std::collections::BTreeMap;

use crate::check::door::silent;
use crate::check::survey::cell;
use crate::check::{Context, Outcome};
use crate::world::pg::Session;
use crate::world::pg::settings::{Surroundings, resolve};

/// A setting of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// As the server writes it; `None` when our own session hides it.
    pub value: Option<String>,
    /// What it is when nobody sets it, in the same unit.
    pub default: String,
    /// `8kB`, `ms`; empty when it has none.
    pub unit: String,
    /// Somebody set it.
    pub set: bool,
    /// Another value waits for a restart.
    pub pending: bool,
}

/// All settings by name, in lower case.
pub type Settings = BTreeMap<String, Setting>;

/// Name, value in our session, value that a new one gets, default, unit, origin, pending, hidden by our role or database. What is
/// fixed when a server is built or a cluster made is no setting.
const SETTINGS: &str = "select lower(p.name), p.setting, p.reset_val, p.boot_val, p.unit, p.source, p.pending_restart, \
    exists (select from pg_db_role_setting s, unnest(s.setconfig) c \
        where lower(split_part(c, '=', 1)) = lower(p.name) \
        and s.setdatabase in (0, (select oid from pg_database where datname = current_database())) \
        and s.setrole in (0, (select oid from pg_roles where rolname = session_user))) \
    from pg_settings p where p.context <> 'internal'";

/// Reads them. The error is an outcome without an expectation of its own.
pub async fn settings(session: &Session, target: &str, cx: &Context) -> Result<Settings, Outcome> {
    let rows = session
        .query(SETTINGS)
        .await
        .map_err(|error| Outcome::unknown(format!("{target}: {}", error.message), "").help(silent(&error)))?;
    // What the target's own words set for our session hides the server's value.
    let words = cx
        .target(target)
        .ok()
        .and_then(|target| resolve(target, None, &Surroundings::of_process()).ok())
        .and_then(|settings| settings.options)
        .unwrap_or_default()
        .to_lowercase();
    Ok(rows
        .iter()
        .map(|row| {
            let name = cell(row, 0).to_owned();
            let default = cell(row, 3).to_owned();
            let ours = cell(row, 7) == "t" || words.contains(&name);
            let (value, set) = match cell(row, 5) {
                "session" | "client" | "user" | "database" | "database user" | "global" | "interactive" => {
                    let known = !ours && cell(row, 5) == "session";
                    let value = known.then(|| cell(row, 2).to_owned());
                    // Where it came from is covered by our own value.
                    let set = value.as_ref().is_some_and(|value| *value != default);
                    (value, set)
                }
                origin => {
                    (Some(cell(row, 1).to_owned()), matches!(origin, "configuration file" | "command line"))
                }
            };
            // While nothing is archived, the server shows this word for any command.
            let value = value.map(|value| if value == "(disabled)" { String::new() } else { value });
            let setting =
                Setting { value, default, unit: cell(row, 4).to_owned(), set, pending: cell(row, 6) == "t" };
            (name, setting)
        })
        .collect())
}
