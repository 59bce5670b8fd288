//! What goes, as people are shown it. The journal keeps every item by itself.

use crate::base::text::thousands;
use crate::journal::record::BlastItem;

/// The items as they are listed: several tables that hold nothing are one line with their number, at the end, so that those
/// that hold something are seen. Only tables that have no size of their own, as in an SQLite file: of a server, a table is
/// listed because the runbook names it.
pub fn listed(items: &[BlastItem]) -> Vec<BlastItem> {
    let empty = |item: &&BlastItem| item.kind == "table" && item.bytes.is_none() && item.rows == Some(0);
    let (none, mut list): (Vec<&BlastItem>, Vec<&BlastItem>) = items.iter().partition(empty);
    if none.len() < 2 {
        return items.to_vec();
    }
    let name = format!("{} without a row", thousands(none.len() as u64));
    let all = BlastItem { kind: "tables".to_owned(), name, bytes: None, rows: Some(0) };
    list.push(&all);
    list.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(kind: &str, name: &str, bytes: Option<u64>, rows: Option<u64>) -> BlastItem {
        BlastItem { kind: kind.to_owned(), name: name.to_owned(), bytes, rows }
    }

    #[test]
    fn empty_tables_of_a_file_are_one_line() {
        let file = item("database file", "/srv/homeserver.db", Some(4096), None);
        let (full, unknown) = (item("table", "events", None, Some(7)), item("table", "odd", None, None));
        let (none, other) = (item("table", "pushers", None, Some(0)), item("table", "users", None, Some(0)));
        let named = item("table", "public.old", Some(0), Some(0));
        let all = [file.clone(), none.clone(), full.clone(), other, unknown.clone(), named.clone()];
        let two = item("tables", "2 without a row", None, Some(0));
        assert_eq!(listed(&all), [file.clone(), full.clone(), unknown, named, two]);
        let one = [file, none, full];
        assert_eq!(listed(&one), one, "one alone keeps its name");
        assert_eq!(listed(&[]), []);
    }
}
