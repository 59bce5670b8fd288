//! How old the newest and the oldest row of a table are.

use crate::base::Span;
use crate::check::application::ask::{self, Question};
use crate::check::people::stamp;
use crate::check::{Context, Outcome};

/// The newest or the oldest row of a table.
pub(super) struct End<'a> {
    pub table: &'a str,
    pub column: &'a str,
    pub newest: bool,
    pub limit: Span,
}

impl End<'_> {
    /// Whether it holds, and what was seen.
    pub(super) async fn judge(
        &self,
        target: &str,
        cx: &Context,
        wanted: &str,
    ) -> Result<(bool, String), Box<Outcome>> {
        let which = if self.newest { "newest" } else { "oldest" };
        let function = if self.newest { "max" } else { "min" };
        let sql = format!("select {function}({}) from {}", quoted(self.column), quoted(self.table));
        let (value, _) = ask::one(cx, &Question::new(super::KIND.name, target, wanted), &sql).await?;
        let unknown = |why: String| {
            let why = format!("the {which} row of {}: {why}", self.table);
            Box::new(Outcome::unknown(why, wanted).help("name a column that holds when each row was made"))
        };
        let value = value.ok_or_else(|| unknown(format!("no row has a value in {}", self.column)))?;
        let stamp = stamp::read(&value).map_err(unknown)?;
        let slack = std::time::Duration::from_secs(60);
        let age = stamp::age(stamp, cx.world.clock.now().wall, slack).map_err(unknown)?;
        let holds = if self.newest { age <= self.limit.0 } else { age >= self.limit.0 };
        Ok((holds, format!("the {which} row of {} is {} old", self.table, stamp::rounded(age))))
    }
}

/// A name, with its schema if it has one, as SQL.
fn quoted(name: &str) -> String {
    if name.contains('"') {
        return name.to_owned();
    }
    name.split('.').map(crate::world::sqlite::identifier).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(quoted("public.events"), "\"public\".\"events\"");
        assert_eq!(quoted("a;drop"), "\"a;drop\"");
        assert_eq!(quoted("\"we.ird\""), "\"we.ird\"");
    }
}
