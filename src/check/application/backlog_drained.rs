//! Have those who consume a queue caught up, or do they at least catch up?

use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::ask::{self, Question};
use crate::base::Span;
use crate::base::text::{count, thousands};
use crate::check::params::{Count, Flag, whole};
use crate::check::people::errand::{self, Errand, Went, short};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::runbook::model::Run;
use crate::world::Identity;

/// Have those who consume a queue caught up, or do they at least catch up?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BacklogDrained {
    /// A target whose database knows the depth.
    #[serde(default)]
    #[schemars(extend("format" = "target"))]
    target: Option<String>,
    /// With `target`: a query that returns the depth; or a row for each consumer, its name and its depth.
    #[serde(default)]
    sql: Option<String>,
    /// Instead: a command that prints the depth; or a line for each consumer, its name and its depth. It must not change anything.
    #[serde(default)]
    run: Option<Run>,
    /// The user that the command runs as; ours when not given.
    #[serde(default)]
    user: Option<String>,
    /// The consumers that must be there, by name.
    #[serde(default)]
    consumers: Vec<String>,
    /// The deepest that passes.
    at_most: Count,
    /// A deeper one passes, too, when it falls over several looks; false when not given.
    #[serde(default)]
    falling: Option<Flag>,
    /// How many looks; 3 when not given.
    #[serde(default)]
    looks: Option<Count>,
    /// The time between two looks; 2s when not given.
    #[serde(default)]
    apart: Option<Span>,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "backlog_drained",
    summary: "every consumer of a queue has caught up, or is catching up",
    docs: DOCS,
    timeout: Some(Span::secs(1200)),
    schema: || schema_for!(BacklogDrained),
    build,
};

const DOCS: &str = r"
Shows that those who consume a queue have caught up: bridges, workers, mail, replication to somewhere else. A service that
answers again while its consumers lag by hours is not back.

**How it is measured.** The depth comes from a query (`target` and `sql`, PostgreSQL or SQLite) or from a command (`run`): one
number, or for each consumer its name and its number. With `falling`, a depth above `at_most` is looked at again (`looks`
times, `apart` from each other).

**Passes** when every depth is at most `at_most`; with `falling` also when each that is deeper never rises from look to look and
ends lower than it began. **Fails** otherwise. **Unknown** when there is no number, no row, NULL, a consumer that `consumers`
names is not there, or the command or the server does not answer.

**Traps.** `select consumer, count(*) … group by consumer` has no row for a consumer with an empty queue, and none for one that is
not there at all; name those that must be there in `consumers`, and let the query return their zeros (from the table of consumers,
with a left join). An empty queue shows nothing while nobody may write: look again after the service is open. A falling
backlog may still take all night.

```yaml
postconditions:
  - backlog_drained:
      target: new
      sql: select count(*) from application_services_txns
      at_most: 10
  - backlog_drained: { id: mail, run: [/usr/local/bin/queue-depths], consumers: [irc, mail], at_most: 100, falling: true }
```
";

/// The longest that all looks together may take.
const LONGEST: Duration = Duration::from_secs(900);

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: BacklogDrained = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if check.target.is_some() != check.sql.is_some() {
        return Err("`target` and `sql` belong together".to_owned());
    }
    if check.target.is_some() == check.run.is_some() {
        return Err("give one way to measure the depth: `target` with `sql`, or `run`".to_owned());
    }
    if check.run.as_ref().is_some_and(|run| !errand::runs(run)) {
        return Err("`run` is empty: there is nothing to run".to_owned());
    }
    if check.user.is_some() && check.run.is_none() {
        return Err("`user` belongs to `run`".to_owned());
    }
    let falling = check.falling == Some(Flag(true));
    if !falling && (check.looks.is_some() || check.apart.is_some()) {
        return Err("`looks` and `apart` belong to `falling: true`".to_owned());
    }
    if check.looks().0 < 2 {
        return Err("`looks` is less than 2: nothing is seen to fall".to_owned());
    }
    let all = u32::try_from(check.looks().0).ok().and_then(|looks| check.apart().0.checked_mul(looks));
    if all.is_none_or(|all| all > LONGEST) {
        return Err(format!("`looks` times `apart` is more than {}", Span(LONGEST)));
    }
    Ok(Box::new(check))
}

/// Depths by consumer, in the order in which they came. A single number has no name.
type Depths = Vec<(String, u64)>;

#[async_trait]
impl Check for BacklogDrained {
    fn targets(&self) -> Vec<String> {
        self.target.iter().cloned().collect()
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let mut looks = Vec::new();
        let mut seen = None;
        loop {
            match self.look(cx).await {
                Err(outcome) => return *outcome,
                Ok((depths, identity)) => {
                    looks.push(depths);
                    seen = identity.or(seen);
                }
            }
            let done =
                looks.last().is_some_and(|depths| depths.iter().all(|(_, depth)| *depth <= self.at_most.0));
            if done || self.falling != Some(Flag(true)) || looks.len() as u64 >= self.looks().0 {
                break;
            }
            tokio::time::sleep(self.apart().0).await;
        }
        let outcome = self.judge(&looks);
        match (seen, &self.target) {
            (Some(identity), Some(target)) => outcome.on(target, identity),
            _ => outcome,
        }
    }
}

impl BacklogDrained {
    fn looks(&self) -> Count {
        self.looks.unwrap_or(Count(3))
    }

    fn apart(&self) -> Span {
        self.apart.unwrap_or(Span::secs(2))
    }

    fn wanted(&self) -> String {
        let falling = if self.falling == Some(Flag(true)) { ", or falling" } else { "" };
        format!("at most {} waiting{falling}", self.at_most)
    }

    fn unknown(&self, why: String, help: &str) -> Box<Outcome> {
        Box::new(Outcome::unknown(why, self.wanted()).help(help))
    }

    async fn look(&self, cx: &Context) -> Result<(Depths, Option<Identity>), Box<Outcome>> {
        let wanted = self.wanted();
        let (depths, identity) = if let (Some(target), Some(sql)) = (&self.target, &self.sql) {
            let question = Question::new(KIND.name, target, &wanted);
            let (rows, identity) = ask::rows(cx, &question, sql)
                .await
                .map_err(|trouble| trouble.outcome(&question, "correct the names in the query"))?;
            (of_rows(&rows), Some(identity))
        } else {
            let Some(run) = &self.run else {
                return Err(self.unknown("there is nothing to look at".to_owned(), "correct the check"));
            };
            let limit = Duration::from_secs(60);
            let errand = Errand { run, user: self.user.as_deref(), env: Vec::new(), limit };
            match errand.look(cx).await {
                Went::Well(said) => (of_text(&said), None),
                Went::Badly(why) | Went::NotRun(why) => {
                    return Err(self.unknown(
                        format!("the command gave no depth: {why}"),
                        "run it by hand, and mend it",
                    ));
                }
            }
        };
        let depths =
            depths.map_err(|why| self.unknown(why, "return one number, or a name and a number each"))?;
        let absent = self.consumers.iter().find(|name| !depths.iter().any(|(there, _)| there == *name));
        match absent {
            Some(name) => Err(self.unknown(
                format!("nothing is known of the consumer `{name}`"),
                "start it, or let the query return its zero",
            )),
            None => Ok((depths, identity)),
        }
    }

    /// Judges what was seen, first look first.
    fn judge(&self, looks: &[Depths]) -> Outcome {
        let last = looks.last().cloned().unwrap_or_default();
        let named = |name: &str| if name.is_empty() { String::new() } else { format!(" for {name}") };
        let mut waiting: Vec<&(String, u64)> =
            last.iter().filter(|(_, depth)| *depth > self.at_most.0).collect();
        waiting.sort_unstable_by_key(|(_, depth)| std::cmp::Reverse(*depth));
        let mut details = Vec::new();
        let mut stuck = Vec::new();
        for (name, depth) in &waiting {
            let path: Vec<Option<u64>> = looks
                .iter()
                .map(|look| look.iter().find(|(n, _)| n == name).map(|(_, depth)| *depth))
                .collect();
            let fell = falls(&path);
            let shown: Vec<String> = path.iter().map(|d| d.map_or("?".to_owned(), thousands)).collect();
            details.push(format!("{}{}", shown.join(" → "), named(name)));
            if !fell {
                stuck.push((name, depth));
            }
        }
        let most = last.iter().map(|(_, depth)| *depth).max().unwrap_or(0);
        let total: u64 = last.iter().fold(0, |sum: u64, (_, depth)| sum.saturating_add(*depth));
        let wanted = self.wanted();
        let outcome = match (waiting.as_slice(), stuck.as_slice()) {
            ([], _) => {
                let of = if last.len() > 1 { format!(" in {} queues", last.len()) } else { String::new() };
                Outcome::pass(format!("{} waiting{of}", thousands(total)), wanted)
            }
            ([(name, depth), ..], []) => {
                Outcome::pass(format!("{} waiting{}, falling", thousands(*depth), named(name)), wanted)
            }
            (_, [(name, depth), more @ ..]) => {
                let also = if more.is_empty() {
                    String::new()
                } else {
                    format!(", and {} more", count(more.len() as u64, "queue", "queues"))
                };
                let not = if looks.len() > 1 { ", not falling" } else { "" };
                Outcome::fail(format!("{} waiting{}{not}{also}", thousands(**depth), named(name)), wanted)
                    .help("wait until the consumers have caught up, or find out what holds them up")
            }
        };
        let mut outcome = outcome.fact("deepest", most).fact("waiting", total);
        outcome.details.extend(details.into_iter().take(20));
        outcome
    }
}

/// Never up, and lower in the end.
fn falls(path: &[Option<u64>]) -> bool {
    let Some(known) = path.iter().copied().collect::<Option<Vec<u64>>>() else { return false };
    known.windows(2).all(|pair| pair[1] <= pair[0]) && known.len() > 1 && known.last() < known.first()
}

fn of_rows(rows: &[Vec<Option<String>>]) -> Result<Depths, String> {
    let number = |text: &Option<String>| {
        let text = text.as_ref().ok_or("NULL came back: there was nothing to measure")?;
        whole(text.trim()).ok_or_else(|| format!("`{}` came back, which is no depth", short(text, 40)))
    };
    let each = rows.iter().map(|row| match row.as_slice() {
        [depth] if rows.len() == 1 => Ok((String::new(), number(depth)?)),
        [Some(name), depth] => Ok((short(name, 80), number(depth)?)),
        [None, _] => Err("a consumer without a name came back".to_owned()),
        [_] => Err("more than one row came back".to_owned()),
        columns => Err(format!("{} columns came back", columns.len())),
    });
    let all: Depths = each.collect::<Result<_, String>>()?;
    if all.is_empty() { Err("no row came back".to_owned()) } else { Ok(all) }
}

fn of_text(said: &str) -> Result<Depths, String> {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let rows: Vec<Vec<Option<String>>> = lines
        .iter()
        .map(|line| match line.rsplit_once([' ', '\t']) {
            Some((name, depth)) => vec![Some(name.trim().to_owned()), Some(depth.to_owned())],
            None => vec![Some((*line).to_owned())],
        })
        .collect();
    if rows.is_empty() { Err("it printed nothing".to_owned()) } else { of_rows(&rows) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::Verdict;

    #[test]
    fn depths_are_read() {
        assert_eq!(of_text("7\n"), Ok(vec![(String::new(), 7)]));
        assert_eq!(of_text("irc 3\nmail relay 0\n"), Ok(vec![("irc".into(), 3), ("mail relay".into(), 0)]));
        for none in ["", "many", "-1", "7\n8\n", "irc x", "1.5"] {
            assert!(of_text(none).is_err(), "{none}");
        }
        assert!(of_rows(&[vec![None]]).unwrap_err().contains("NULL"));
    }

    #[test]
    fn only_what_falls_passes_above_the_limit() {
        let check: BacklogDrained =
            serde_json::from_value(json!({ "run": ["x"], "at_most": 10, "falling": true })).unwrap();
        let verdict = |path: &[u64]| {
            let looks: Vec<Depths> = path.iter().map(|depth| vec![("q".to_owned(), *depth)]).collect();
            check.judge(&looks).verdict
        };
        assert_eq!(verdict(&[10]), Verdict::Pass);
        assert_eq!(verdict(&[900, 700, 500]), Verdict::Pass);
        assert_eq!(verdict(&[900, 900, 899]), Verdict::Pass);
        for stuck in [&[11][..], &[900, 900, 900], &[900, 950, 800], &[5, 900]] {
            assert_eq!(verdict(stuck), Verdict::Fail, "{stuck:?}");
        }
        let two = [
            vec![("a".to_owned(), 50), ("b".to_owned(), 60)],
            vec![("a".to_owned(), 40), ("b".to_owned(), 60)],
        ];
        assert!(check.judge(&two).observed.contains("60 waiting for b, not falling"));
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |params: Value| match params {
            Value::Object(params) => build(params).err().unwrap_or_default(),
            _ => String::new(),
        };
        for wrong in [
            json!({ "at_most": 1 }),
            json!({ "target": "db", "at_most": 1 }),
            json!({ "target": "db", "sql": "select 1", "run": ["x"], "at_most": 1 }),
            json!({ "run": [], "at_most": 1 }),
            json!({ "run": ["x"] }),
            json!({ "run": ["x"], "at_most": 1, "looks": 3 }),
            json!({ "run": ["x"], "at_most": 1, "falling": true, "looks": 1 }),
            json!({ "run": ["x"], "at_most": 1, "falling": true, "apart": "1h" }),
        ] {
            assert_ne!(refused(wrong.clone()), "", "{wrong}");
        }
    }
}
