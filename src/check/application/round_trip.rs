//! Does what is sent on one side arrive on the other? The proof of service: a message of our own, end to end.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::Span;
use crate::base::ids::hex;
use crate::base::text::count;
use crate::check::params::Count;
use crate::check::people::errand::{self, Errand, Went};
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};
use crate::runbook::model::Run;
use crate::world::host;

/// Does what is sent on one side arrive on the other?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoundTrip {
    /// Sends a message that holds the word in `HOLDPOINT_TOKEN`: a list is program and arguments, a string is a bash script.
    send: Run,
    /// Prints what has arrived lately on the other side, as another user. It is not told the word.
    receive: Run,
    /// The other direction.
    #[serde(default)]
    back: Option<Back>,
    /// How long a message may take; 30s when not given.
    #[serde(default)]
    within: Option<Span>,
    /// How often it must work, one after the other; 3 when not given.
    #[serde(default)]
    times: Option<Count>,
    /// The user that all of them run as; ours when not given.
    #[serde(default)]
    user: Option<String>,
}

/// The other direction.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Back {
    /// Sends a message from the other side.
    send: Run,
    /// Prints what has arrived lately on this side.
    receive: Run,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "round_trip",
    summary: "a message of our own arrives on the other side, in both directions, several times",
    docs: DOCS,
    timeout: Some(Span::secs(7200)),
    schema: || schema_for!(RoundTrip),
    build,
};

const DOCS: &str = r#"
Shows that a service does what it is for: a message that is sent on one side arrives on the other, as its users would see it.

**How it is measured.** For every try there is a new word that nobody has used before. `send` gets it in
`HOLDPOINT_TOKEN` and puts it into a message; it may go on in the background once it has exited with 0. `receive` prints
what has arrived lately on the other side, as another user, again and again until the word is in it. `receive` is not
told the word, so that it cannot pass by repeating it. `back` is the other direction, with words of its own; both
directions are tried at the same time, each `times` in a row.

It sends real messages: choose a room, a channel, an address that is there for this. Messages are sent only in a run that somebody
drives, or by `holdpoint check FILE --page`; never by `holdpoint check` alone, `plan` or a walk-down.

**Passes** when every message of both directions arrived within `within`. **Fails** when one was sent and did not arrive, or `send`
itself says that it failed. **Unknown** when nothing may be sent, a command does not start or does not end, or `receive` never
worked: then nobody looked.

**Traps.** "Sent" is not "delivered": for half a night messages were taken and shown to their senders, and to nobody else. A bridge that
works in one direction looks healthy from that side: give it `back`. A receiver that is the sender's own account may see
an echo that never left the machine. A postcondition is measured again by every hold point that relies on it, and sends again.

```yaml
postconditions:
  - round_trip:
      send: matrix-send --as alice '#probe:example.org' "$HOLDPOINT_TOKEN"
      receive: irc-read --as bob --last 50 '#probe'
      back:
        send: irc-say --as bob '#probe' "$HOLDPOINT_TOKEN"
        receive: matrix-read --as alice --last 50 '#probe:example.org'
      within: 30s
      times: 3
```
"#;

/// Between two looks at the other side.
const PAUSE: Duration = Duration::from_millis(500);
const MOST: u64 = 100;
const LONGEST: Span = Span::secs(600);

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let check: RoundTrip = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    let back =
        check.back.iter().flat_map(|back| [("back.send", &back.send), ("back.receive", &back.receive)]);
    for (name, run) in [("send", &check.send), ("receive", &check.receive)].into_iter().chain(back) {
        if !errand::runs(run) {
            return Err(format!("`{name}` is empty: there is nothing to run"));
        }
    }
    if check.within().0.is_zero() || check.within() > LONGEST {
        return Err(format!("`within` is {}: more than nothing, and at most {LONGEST}", check.within()));
    }
    if check.times() == 0 || check.times() > MOST {
        return Err(format!("`times` is {}: from 1 to {MOST}", check.times()));
    }
    Ok(Box::new(check))
}

/// One direction.
struct Way<'a> {
    name: &'static str,
    send: &'a Run,
    receive: &'a Run,
}

/// How a direction went.
#[derive(Debug)]
enum Trip {
    /// Every message arrived; the slowest took so long.
    Arrived(Duration),
    /// One did not.
    Lost(String),
    /// Nobody can tell.
    Unclear(String),
}

#[async_trait]
impl Check for RoundTrip {
    async fn measure(&self, cx: &Context) -> Outcome {
        let wanted = self.wanted();
        if !cx.outside.may_send {
            let why = "a message must be sent, and only a run or `holdpoint check FILE --page` sends one";
            return Outcome::unknown(why, wanted)
                .help("let a run send it, or measure with `holdpoint check FILE --page`");
        }
        let there = Way { name: "there", send: &self.send, receive: &self.receive };
        let back =
            self.back.as_ref().map(|back| Way { name: "back", send: &back.send, receive: &back.receive });
        let ways: Vec<Way<'_>> = [Some(there), back].into_iter().flatten().collect();
        let trips = futures::future::join_all(ways.iter().map(|way| self.travel(way, cx))).await;
        let all: Vec<(&str, Trip)> = ways.iter().map(|way| way.name).zip(trips).collect();
        self.judge(&all)
    }
}

impl RoundTrip {
    fn within(&self) -> Span {
        self.within.unwrap_or(Span::secs(30))
    }

    fn times(&self) -> u64 {
        self.times.map_or(3, |times| times.0)
    }

    fn wanted(&self) -> String {
        let ways = if self.back.is_some() { " there and back" } else { "" };
        format!(
            "{} received{ways}, each within {}",
            count(self.times(), "message", "messages"),
            self.within()
        )
    }

    async fn travel(&self, way: &Way<'_>, cx: &Context) -> Trip {
        let mut slowest = Duration::ZERO;
        for nth in 1..=self.times() {
            let token = match host::random::<12>() {
                Ok(bytes) => format!("hp{}", hex(&bytes)),
                Err(why) => return Trip::Unclear(why),
            };
            let place = format!("{} ({nth} of {})", way.name, self.times());
            match self.once(way, &token, cx).await {
                Ok(took) => slowest = slowest.max(took),
                Err(Trip::Lost(why)) => return Trip::Lost(format!("{place}: {why}")),
                Err(Trip::Unclear(why)) => return Trip::Unclear(format!("{place}: {why}")),
                Err(other) => return other,
            }
        }
        Trip::Arrived(slowest)
    }

    /// One message. How long it took, or why it did not arrive.
    async fn once(&self, way: &Way<'_>, token: &str, cx: &Context) -> Result<Duration, Trip> {
        let began = Instant::now();
        let limit = self.within().0;
        let user = self.user.as_deref();
        let env = vec![("HOLDPOINT_TOKEN", token.to_owned())];
        match (Errand { run: way.send, user, env, limit }).send(cx).await {
            Went::Well(_) => {}
            Went::Badly(why) => return Err(Trip::Lost(format!("sending failed: {why}"))),
            Went::NotRun(why) => return Err(Trip::Unclear(format!("sending: {why}"))),
        }
        let mut looked = false;
        let mut trouble = String::new();
        loop {
            // One look more when the time is up: the last one may have begun too early.
            let over = began.elapsed() >= limit;
            let rest = limit.saturating_sub(began.elapsed()).max(Duration::from_secs(1));
            match (Errand { run: way.receive, user, env: Vec::new(), limit: rest }).look(cx).await {
                Went::Well(said)
                    if said.contains(token) && began.elapsed() <= limit + Duration::from_secs(1) =>
                {
                    return Ok(began.elapsed());
                }
                Went::Well(_) => looked = true,
                Went::Badly(why) | Went::NotRun(why) => trouble = why,
            }
            if over {
                break;
            }
            tokio::time::sleep(PAUSE.min(limit.saturating_sub(began.elapsed()))).await;
        }
        Err(match looked {
            true => Trip::Lost(format!("sent, and not received within {}", self.within())),
            false => Trip::Unclear(format!("nobody looked whether it arrived; receiving: {trouble}")),
        })
    }

    fn judge(&self, trips: &[(&str, Trip)]) -> Outcome {
        let wanted = self.wanted();
        let lost: Vec<&str> = trips
            .iter()
            .filter_map(|(_, trip)| if let Trip::Lost(why) = trip { Some(why.as_str()) } else { None })
            .collect();
        let unclear: Vec<&str> = trips
            .iter()
            .filter_map(|(_, trip)| if let Trip::Unclear(why) = trip { Some(why.as_str()) } else { None })
            .collect();
        let times: Vec<(&str, Duration)> = trips
            .iter()
            .filter_map(
                |(name, trip)| if let Trip::Arrived(took) = trip { Some((*name, *took)) } else { None },
            )
            .collect();
        let slowest = times.iter().map(|(_, took)| *took).max().unwrap_or_default();
        let worked: Vec<String> = times
            .iter()
            .map(|(name, took)| format!("{name}: all received, the slowest after {}", millis(*took)))
            .collect();
        let outcome = match (lost.is_empty(), unclear.is_empty()) {
            (false, _) => Outcome::fail(lost.join("; "), wanted)
                .help("find out where the message stays; users' messages stay there, too"),
            (true, false) => Outcome::unknown(unclear.join("; "), wanted)
                .help("run the commands by hand and mend them, then measure again"),
            (true, true) => {
                let ways = if trips.len() > 1 { " there and back" } else { "" };
                let each = count(self.times(), "message", "messages");
                Outcome::pass(format!("{each} received{ways}, the slowest after {}", millis(slowest)), wanted)
            }
        };
        let mut outcome = outcome.fact("slowest_ms", slowest.as_millis() as u64);
        outcome.details.extend(worked);
        if !lost.is_empty() {
            outcome.details.extend(unclear.into_iter().map(str::to_owned));
        }
        outcome
    }
}

fn millis(took: Duration) -> Span {
    Span::millis(took.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::Verdict;

    #[test]
    fn a_lost_message_outweighs_what_nobody_saw() {
        let check: RoundTrip = serde_json::from_value(json!({ "send": "a", "receive": "b" })).unwrap();
        let arrived = || ("there", Trip::Arrived(Duration::from_millis(70)));
        let lost = || ("back", Trip::Lost("back (1 of 3): lost".into()));
        let unclear = || ("back", Trip::Unclear("back (1 of 3): ?".into()));
        assert_eq!(check.judge(&[arrived()]).verdict, Verdict::Pass);
        let outcome = check.judge(&[arrived(), lost()]);
        assert_eq!((outcome.verdict, outcome.observed.as_str()), (Verdict::Fail, "back (1 of 3): lost"));
        assert_eq!(check.judge(&[arrived(), unclear()]).verdict, Verdict::Unknown);
        assert_eq!(check.judge(&[lost(), unclear()]).verdict, Verdict::Fail);
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |params: Value| match params {
            Value::Object(params) => build(params).err().unwrap_or_default(),
            _ => String::new(),
        };
        assert!(refused(json!({ "send": "a", "receive": [] })).contains("`receive` is empty"));
        assert!(refused(json!({ "send": "a", "receive": "b", "times": 0 })).contains("`times`"));
        assert!(refused(json!({ "send": "a", "receive": "b", "within": "0s" })).contains("`within`"));
        let back = json!({ "send": "a", "receive": "b", "back": { "send": " ", "receive": "x" } });
        assert!(refused(back).contains("`back.send` is empty"));
    }
}
