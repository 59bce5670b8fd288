//! What the pages on record say: pure, on a given moment.

use std::time::Duration;

use crate::base::{Moment, Span};
use crate::check::people::pages::{self, Ack, Entry, Page};
use crate::check::people::stamp::rounded;

/// What the pages on record say.
#[derive(Debug)]
pub(super) enum Record {
    /// Acknowledged in time, not too long ago.
    Good { page: Page, ack: Ack, took: Duration, age: Duration },
    /// One is on its way.
    Waiting(Page),
    /// The newest did not reach anybody.
    Missed(String),
    /// There is none that still counts; with a remark on the last one.
    Nothing(Option<String>),
    /// Nobody can tell.
    Unclear(String),
}

/// What makes a page count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// How long its acknowledgement may take.
    pub within: Span,
    /// The oldest that it may be.
    pub max_age: Span,
    /// Somebody else must have acknowledged it.
    pub by_other: bool,
}

impl Rules {
    /// What pages of one way say now. The newest decides; one from the future cannot be the newest of which anything is known.
    pub(super) fn judge(&self, pages: &[Entry], now: &Moment, boot: &str) -> Record {
        let mut unclear = None;
        let mut newest: Option<(Duration, &Entry)> = None;
        for entry in pages {
            match pages::between(&entry.page.sent, &entry.page.boot, now, boot) {
                Ok(age) if newest.is_none_or(|(youngest, _)| age < youngest) => newest = Some((age, entry)),
                Ok(_) => {}
                Err(why) => unclear = Some(format!("the page of {why}")),
            }
        }
        let Some((age, Entry { page, ack })) = newest else {
            return unclear.map_or(Record::Nothing(None), Record::Unclear);
        };
        let sent = format!("the page that {} sent {} ago", page.by, rounded(age));
        let Some(ack) = ack else {
            return match age {
                age if page.failed.is_none()
                    && age < self.within.0.min(Duration::from_millis(page.within_ms)) =>
                {
                    Record::Waiting(page.clone())
                }
                age if age > self.max_age.0 => Record::Nothing(Some(format!("{sent} was not acknowledged"))),
                _ if page.failed.is_some() => Record::Missed(format!("{sent} could not be sent")),
                _ => Record::Missed(format!("{sent} was not acknowledged within {}", self.within)),
            };
        };
        match pages::between(&page.sent, &page.boot, &ack.at, &ack.boot) {
            Err(why) => Record::Unclear(format!("the page of {why}")),
            Ok(_) if self.by_other && pages::person(&ack.by) == pages::person(&page.by) => {
                Record::Nothing(Some(format!("{sent} was acknowledged by themselves")))
            }
            Ok(_) if age > self.max_age.0 => Record::Nothing(Some(format!("{sent} is too old to count"))),
            Ok(took) if took > self.within.0 => {
                Record::Missed(format!("{sent} was acknowledged only after {}", rounded(took)))
            }
            Ok(took) => Record::Good { page: page.clone(), ack: ack.clone(), took, age },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;
    use crate::check::people::pages::New;
    use crate::world::host;

    fn at(second: u64) -> Moment {
        let wall = jiff::Timestamp::from_second(1_795_168_800 + second as i64).unwrap();
        Moment { wall, boot_ms: (100_000 + second) * 1000 }
    }

    fn entry(sent: u64, ack: Option<(&str, u64)>) -> Entry {
        let within = Duration::from_secs(600);
        let new = New { way: Digest::of(b"x"), via: "page".into(), by: "alice@db1", within, by_other: true };
        let (page, _) = Page::new(&new, at(sent)).unwrap();
        let ack = ack.map(|(by, second)| Ack { by: by.to_owned(), at: at(second), boot: page.boot.clone() });
        Entry { page, ack }
    }

    fn says(pages: &[Entry], now: u64) -> String {
        let rules = Rules { within: Span::secs(600), max_age: Span::secs(86_400), by_other: true };
        match rules.judge(pages, &at(now), &host::boot_id()) {
            Record::Good { .. } => "good".into(),
            Record::Waiting(_) => "waiting".into(),
            Record::Missed(why) => format!("missed: {why}"),
            Record::Nothing(why) => format!("nothing: {}", why.unwrap_or_default()),
            Record::Unclear(why) => format!("unclear: {why}"),
        }
    }

    #[test]
    fn the_newest_page_decides() {
        assert_eq!(says(&[], 0), "nothing: ");
        assert_eq!(says(&[entry(0, Some(("bob@db1", 120)))], 3600), "good");
        assert_eq!(says(&[entry(0, None)], 599), "waiting");
        assert!(says(&[entry(0, None)], 600).starts_with("missed"));
        assert!(says(&[entry(0, None)], 90_000).starts_with("nothing"));
        assert!(says(&[entry(0, Some(("bob@db1", 120)))], 90_000).contains("too old"));
        assert!(says(&[entry(0, Some(("bob@db1", 700)))], 800).contains("only after 11min 40s"));
        assert!(says(&[entry(0, Some(("alice@laptop", 5)))], 10).contains("themselves"));
        let newer = [entry(4000, None), entry(0, Some(("bob@db1", 120)))];
        assert!(says(&newer, 5000).starts_with("missed"), "an older good one does not make up for it");
        let failed = Entry { page: Page { failed: Some("x".into()), ..entry(0, None).page }, ack: None };
        assert!(says(&[failed], 5).starts_with("missed"), "one that was not sent does not wait");
    }

    #[test]
    fn a_page_from_the_future_neither_counts_nor_hides_others() {
        let mut future = entry(5000, Some(("bob@db1", 5001)));
        future.page.boot = "another boot".into();
        assert!(says(&[future.clone()], 40).starts_with("unclear"));
        assert_eq!(says(&[future, entry(0, Some(("bob@db1", 20)))], 40), "good");
    }
}
