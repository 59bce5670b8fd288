//! What goes, compared with what was shown: no more may go than somebody confirmed.

use crate::base::Digest;
use crate::journal::record::Blast;

/// How much more than confirmed may go before the list counts as grown: one WAL segment or one per cent. Rows and
/// items have no such allowance.
const SLACK_BYTES: u64 = 16 << 20;

impl Blast {
    /// Digest of what goes: kinds, names and rows, not the moment.
    pub fn digest(&self) -> Digest {
        let lines: Vec<String> = self
            .items
            .iter()
            .map(|i| format!("{}\t{}\t{:?}\t{:?}\n", i.kind, i.name, i.bytes, i.rows))
            .collect();
        Digest::of(lines.concat().as_bytes())
    }

    /// How this list is more than the one shown, in words; empty when it is not.
    pub fn grown_since(&self, shown: &Blast) -> Vec<String> {
        let mut grown = Vec::new();
        for item in &self.items {
            let before = shown.items.iter().find(|s| s.kind == item.kind && s.name == item.name);
            match before {
                None => grown.push(format!("new since: {} {}", item.kind, item.name)),
                Some(before) => {
                    if item.rows > before.rows {
                        grown.push(format!("{} {} has more rows than shown", item.kind, item.name));
                    }
                    let (is, was) = (item.bytes.unwrap_or(0), before.bytes.unwrap_or(0));
                    if is > was.saturating_add((was / 100).max(SLACK_BYTES)) {
                        grown.push(format!("{} {} is larger than shown", item.kind, item.name));
                    }
                }
            }
        }
        if let (Some(now), Some(then)) = (&self.identity, &shown.identity)
            && !then.differs(now).is_empty()
        {
            grown.push("it is another object than the one shown".to_owned());
        }
        grown
    }
}
