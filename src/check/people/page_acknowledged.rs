//! Does a page reach a person? A test page goes out by the real way, with a code; whoever gets it says the code.

mod record;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::errand::{self, Errand, Went};
use super::pages::{self, Ack, Entry, New, Page};
use super::stamp::rounded;
use crate::base::{Digest, Span};
use crate::check::context::Progress;
use crate::check::params::Flag;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome, WAITED};
use crate::runbook::model::Run;
use crate::world::host;
use record::{Record, Rules};

/// Does a page reach a person?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageAcknowledged {
    /// What sends the page, by the same way as a real alert: a list is program and arguments, a string is a bash script. It
    /// finds the code in `HOLDPOINT_PAGE_CODE`, and a text with the code in it in `HOLDPOINT_PAGE_TEXT`.
    send: Run,
    /// The user that it runs as; ours when not given.
    #[serde(default)]
    user: Option<String>,
    /// How long a person may take to acknowledge it; 10min when not given.
    #[serde(default = "ten_minutes")]
    within: Span,
    /// The oldest that an acknowledged page may be; 7d when not given. Then another one is sent.
    #[serde(default = "a_week")]
    max_age: Span,
    /// Somebody else than the operator whose run sent it must acknowledge it; true when not given.
    #[serde(default = "yes")]
    by_other: Flag,
}

fn ten_minutes() -> Span {
    Span::secs(600)
}

fn a_week() -> Span {
    Span::secs(7 * 86_400)
}

fn yes() -> Flag {
    Flag(true)
}

/// The longest that `within` may be.
const LONGEST: Span = Span::secs(86_400);
/// How long the sender may take.
const SENDING: Duration = Duration::from_secs(60);
/// How often the store is looked at for the acknowledgement.
const LOOK: Duration = Duration::from_millis(250);

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "page_acknowledged",
    summary: "a test page by the real way was acknowledged by a person, with the code that it carried",
    docs: DOCS,
    timeout: Some(Span::secs(86_400 + 600)),
    schema: || schema_for!(PageAcknowledged),
    build,
};

const DOCS: &str = r#"
Shows that an alert reaches a person: a test page goes out by the real way, and somebody answers it with the code that it
carried.

**How it is measured.** `send` is what a real alert would run: the pager's command, a script that calls its service. It
gets six random digits in the environment variable `HOLDPOINT_PAGE_CODE`, and in `HOLDPOINT_PAGE_TEXT` a sentence that
says what to do with them. It may go on in the background once it has exited with 0. Whoever is woken by it types
`holdpoint ack CODE` on a machine that has the store. The store's folder `pages/` keeps who sent the page, when, and who
acknowledged it, when; of the code only a salted digest. Times are told by a clock that nobody can set, unless the
machine was restarted in between.

A page is sent only in a run that somebody drives, or by `holdpoint check FILE --page`; never by `holdpoint check` alone, `plan` or a
walk-down, which change nothing. A page that still waits is not sent twice, and one that was acknowledged counts for `max_age`.

**Passes** when the newest page by this way was acknowledged within `within`, at most `max_age` ago, and (`by_other`) by
somebody else than its sender. **Fails** when nobody acknowledged it in time, or `send` itself says that it failed. The next
measurement sends another one. **Unknown** when no page was sent and none may be, the sender did not start or did not end, or
the page log cannot be read.

**Traps.** That a pager's service took the page (HTTP 202) shows nothing: it may drop it afterwards, as when a trial ended. Names
are claimed (`--operator`): whoever can write to the store can acknowledge, or forge. While it waits, the step waits.
Choose `within` as long as a person at night takes, not as long as you are willing to wait.

```yaml
preconditions:
  - page_acknowledged:
      send: [/usr/local/bin/page-oncall, --priority, high]
      within: 10min
      max_age: 24h
  - page_acknowledged:
      id: by-phone
      send: curl --fail --silent --data "text=$HOLDPOINT_PAGE_TEXT" https://pager.example.org/call
```
"#;

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: PageAcknowledged = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if !errand::runs(&check.send) {
        return Err("`send` is empty: nothing would send the page".to_owned());
    }
    if check.within.0.is_zero() {
        return Err("`within` is zero: nobody answers at once".to_owned());
    }
    if check.within > LONGEST {
        return Err(format!("`within` is {}: a step cannot wait longer than {LONGEST} for it", check.within));
    }
    if check.max_age.0.is_zero() {
        return Err("`max_age` is zero: no page is that young".to_owned());
    }
    Ok(Box::new(check))
}

#[async_trait]
impl Check for PageAcknowledged {
    async fn measure(&self, cx: &Context) -> Outcome {
        let Some(folder) = cx.outside.pages.as_deref() else {
            return Outcome::unknown(format!("no page is on record; {ONLY}"), self.wanted()).help(SEND);
        };
        let (page, code) = match self.next(folder, cx).await {
            Ok(next) => next,
            Err(outcome) => return *outcome,
        };
        let sent = code.is_some();
        if let Some(code) = code
            && let Some(outcome) = self.send(&page, &code, folder, cx).await
        {
            return outcome;
        }
        let began = cx.world.clock.now();
        let outcome = self.wait(&page, sent, folder, cx).await;
        // A person's time: it says nothing about how long the next measurement takes.
        outcome.fact(WAITED, cx.world.clock.now().since(&began).as_millis() as u64)
    }
}

const ONLY: &str = "one must be sent, by a run or `holdpoint check FILE --page`";
const SEND: &str = "let a run send it, or measure with `holdpoint check FILE --page`";
const ARRIVE: &str = "find out why the page reached nobody (who is on call? does the service still deliver?); measuring again sends another";

/// Of two measurements at the same time, one sends.
static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

impl PageAcknowledged {
    fn wanted(&self) -> String {
        let who = if self.by_other.0 { "somebody else than its sender" } else { "a person" };
        format!("a page acknowledged by {who} within {}, at most {} ago", self.within, self.max_age)
    }

    fn rules(&self) -> Rules {
        Rules { within: self.within, max_age: self.max_age, by_other: self.by_other.0 }
    }

    /// Pages that go the same way have the same digest.
    fn way(&self) -> Digest {
        let send = match &self.send {
            Run::Argv(argv) => json!(argv),
            Run::Script(script) => json!(script),
        };
        Digest::of(json!([send, self.user]).to_string().as_bytes())
    }

    /// The page to wait for, with its code when it is still to be sent; or what is known already.
    async fn next(&self, folder: &Path, cx: &Context) -> Result<(Page, Option<String>), Box<Outcome>> {
        let unknown = |why: String| {
            Box::new(
                Outcome::unknown(why, self.wanted())
                    .help("look at the store's folder `pages`, then measure again"),
            )
        };
        let one = ONE.lock().await;
        let files = &*cx.world.files;
        let all = pages::all(folder, files).await.map_err(unknown)?;
        let now = cx.world.clock.now();
        let way = self.way();
        let mine: Vec<Entry> = all.into_iter().filter(|entry| entry.page.way == way).collect();
        match self.rules().judge(&mine, &now, &host::boot_id()) {
            Record::Good { page, ack, took, age } => Err(Box::new(self.good(&page, &ack, took, Some(age)))),
            Record::Waiting(page) if cx.outside.may_send => Ok((page, None)),
            Record::Waiting(page) => {
                let why = format!("the page that {} sent still waits to be acknowledged", page.by);
                Err(Box::new(
                    Outcome::unknown(why, self.wanted()).help("measure again once it is acknowledged"),
                ))
            }
            Record::Unclear(why) if !cx.outside.may_send => Err(unknown(why)),
            Record::Missed(why) if !cx.outside.may_send => {
                Err(Box::new(Outcome::fail(why, self.wanted()).help(ARRIVE)))
            }
            Record::Nothing(last) if !cx.outside.may_send => {
                let last = last.unwrap_or_else(|| "no page is on record".to_owned());
                Err(Box::new(Outcome::unknown(format!("{last}; {ONLY}"), self.wanted()).help(SEND)))
            }
            Record::Unclear(_) | Record::Missed(_) | Record::Nothing(_) => {
                let new = New {
                    way,
                    via: cx.secrets.text(&errand::shown(&self.send)),
                    by: &cx.outside.by,
                    within: self.within.0,
                    by_other: self.by_other.0,
                };
                let (page, code) = Page::new(&new, now).map_err(unknown)?;
                // On record before it goes out: after a crash it is not sent twice.
                page.save(folder, files).await.map_err(unknown)?;
                drop(one);
                Ok((page, Some(code)))
            }
        }
    }

    fn good(&self, page: &Page, ack: &Ack, took: Duration, age: Option<Duration>) -> Outcome {
        let when = age.map(|age| format!(", {} ago", rounded(age))).unwrap_or_default();
        let observed = format!("{} acknowledged it {} after it was sent{when}", ack.by, rounded(took));
        Outcome::pass(observed, self.wanted())
            .detail(format!("sent by {} at {:.0}, by {}", page.by, page.sent.wall, page.via))
            .fact("seconds_to_acknowledge", took.as_secs())
            .fact("page", page.id.clone())
    }

    /// Sends it. An outcome when it did not go out.
    async fn send(&self, page: &Page, code: &str, folder: &Path, cx: &Context) -> Option<Outcome> {
        let text =
            format!("Holdpoint test page from {}. Please acknowledge it: holdpoint ack {code}", page.by);
        let env = vec![("HOLDPOINT_PAGE_CODE", code.to_owned()), ("HOLDPOINT_PAGE_TEXT", text)];
        let errand =
            Errand { run: &self.send, user: self.user.as_deref(), env, limit: SENDING.min(self.within.0) };
        let (why, ran) = match errand.send(cx).await {
            Went::Well(_) => return None,
            Went::Badly(why) => (why, true),
            Went::NotRun(why) => (why, false),
        };
        let why = why.replace(code, "[code]");
        let failed = Page { failed: Some(why.clone()), ..page.clone() };
        // When even this cannot be kept, the page waits in vain, which is on the safe side.
        let _ = failed.save(folder, &*cx.world.files).await;
        Some(if ran {
            let observed = format!("the page was not sent: {why}");
            Outcome::fail(observed, self.wanted()).help("mend what sends the page, then measure again")
        } else {
            let observed = format!("the page was not sent: {why}");
            Outcome::unknown(observed, self.wanted())
                .help("mend the command that sends the page, then measure again")
        })
    }

    /// Waits for the acknowledgement.
    async fn wait(&self, page: &Page, sent: bool, folder: &Path, cx: &Context) -> Outcome {
        let limit = self.within.0.min(Duration::from_millis(page.within_ms));
        let boot = host::boot_id();
        loop {
            let now = cx.world.clock.now();
            let ack = match page.ack(folder, &*cx.world.files).await {
                Ok(ack) => ack,
                Err(why) => return Outcome::unknown(why, self.wanted()).help("measure again"),
            };
            if let Some(ack) = ack {
                let record = self.rules().judge(&[Entry { page: page.clone(), ack: Some(ack) }], &now, &boot);
                return match record {
                    Record::Good { page, ack, took, .. } => self.good(&page, &ack, took, None),
                    Record::Missed(why) => Outcome::fail(why, self.wanted()).help(ARRIVE),
                    Record::Nothing(why) => {
                        let why = why.unwrap_or_else(|| "the page does not count".to_owned());
                        Outcome::fail(why, self.wanted()).help("somebody else must acknowledge the next one")
                    }
                    Record::Unclear(why) => Outcome::unknown(why, self.wanted()).help("measure again"),
                    Record::Waiting(_) => {
                        Outcome::unknown("the page still waits", self.wanted()).help("measure again")
                    }
                };
            }
            let waited = match pages::between(&page.sent, &page.boot, &now, &boot) {
                Ok(waited) => waited,
                Err(why) => {
                    return Outcome::unknown(format!("the page of {why}"), self.wanted())
                        .help("measure again");
                }
            };
            if waited >= limit {
                let which = if sent { "the page" } else { "the page sent earlier" };
                let observed = format!("{which} was not acknowledged within {}", self.within);
                return Outcome::fail(observed, self.wanted())
                    .help(ARRIVE)
                    .detail(format!("sent by {} at {:.0}, by {}", page.by, page.sent.wall, page.via))
                    .fact("page", page.id.clone());
            }
            (cx.progress)(Progress {
                what: "waiting for a person to acknowledge the page".to_owned(),
                done: waited.as_secs(),
                total: Some(limit.as_secs()),
                unit: "s",
            });
            tokio::time::sleep(LOOK.min(limit - waited)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused() {
        let refused = |params: Value| match params {
            Value::Object(params) => build(params).err().unwrap_or_default(),
            _ => String::new(),
        };
        assert!(refused(json!({ "send": [] })).contains("`send` is empty"));
        assert!(refused(json!({ "send": ["x"], "within": "0s" })).contains("`within`"));
        assert!(refused(json!({ "send": ["x"], "within": "2d" })).contains("cannot wait"));
        assert!(refused(json!({ "send": ["x"], "max_age": "0s" })).contains("`max_age`"));
        assert_eq!(refused(json!({ "send": "page me" })), "");
    }
}
