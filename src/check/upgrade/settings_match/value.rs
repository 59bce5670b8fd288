//! Values of settings: when two are equal, and how one is shown.

use std::time::Duration;

use crate::base::text::neutral;
use crate::base::{Size, Span};
use crate::check::params::decimal;

/// Settings that are lists: spaces between their elements mean nothing.
const LISTS: [&str; 8] = [
    "shared_preload_libraries",
    "session_preload_libraries",
    "local_preload_libraries",
    "listen_addresses",
    "log_destination",
    "search_path",
    "temp_tablespaces",
    "datestyle",
];

/// Longest value that is shown.
const SHOWN: usize = 80;

/// What a unit measures, and how much of it one is.
enum Unit {
    Bytes(f64),
    Millis(f64),
}

fn unit(text: &str) -> Option<Unit> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let times = if at == 0 { 1.0 } else { text[..at].parse().ok()? };
    let (bytes, millis) = (|n: f64| Some(Unit::Bytes(n * times)), |n: f64| Some(Unit::Millis(n * times)));
    match &text[at..] {
        "B" => bytes(1.0),
        "kB" => bytes(1024.0),
        "MB" => bytes(1_048_576.0),
        "GB" => bytes(1_073_741_824.0),
        "TB" => bytes(1_099_511_627_776.0),
        "us" => millis(0.001),
        "ms" => millis(1.0),
        "s" => millis(1e3),
        "min" => millis(6e4),
        "h" => millis(3.6e6),
        "d" => millis(8.64e7),
        _ => None,
    }
}

/// Are two values the same, each with its unit?
pub fn equal(name: &str, (a, of_a): (&str, &str), (b, of_b): (&str, &str)) -> bool {
    if let (Some(x), Some(y)) = (number(a, of_a), number(b, of_b)) {
        return x == y;
    }
    plain(name, a) == plain(name, b)
}

fn number(value: &str, of: &str) -> Option<f64> {
    let number = decimal(value)?;
    match unit(of) {
        // A negative number is a word: off, or by itself.
        Some(Unit::Bytes(one) | Unit::Millis(one)) if number > 0.0 => Some(number * one),
        _ => Some(number),
    }
}

/// One spelling of what is the same in every version.
fn plain(name: &str, value: &str) -> String {
    match (name, value) {
        // Until 14 a switch, then a choice of methods.
        ("wal_compression", "on") => "pglz".to_owned(),
        // Until 17 a switch, then a list.
        ("log_connections", "off") => String::new(),
        (name, value) if LISTS.contains(&name) => {
            value.split(',').map(str::trim).collect::<Vec<_>>().join(",")
        }
        _ => value.to_owned(),
    }
}

/// May it hold a secret? Then it is compared and not shown.
pub fn secret(name: &str) -> bool {
    name.contains('.') || name.ends_with("_command") || name.ends_with("conninfo")
}

/// A value for people.
pub fn shown(name: &str, value: &str, of: &str) -> String {
    if value.is_empty() {
        return "empty".to_owned();
    }
    if secret(name) {
        return "set (not shown, since it may hold a secret)".to_owned();
    }
    match (decimal(value).filter(|n| *n > 0.0), unit(of)) {
        (Some(n), Some(Unit::Bytes(one))) => Size((n * one) as u64).to_string(),
        (Some(n), Some(Unit::Millis(one))) if n * one >= 1.0 => {
            Span(Duration::from_secs_f64(n * one / 1e3)).to_string()
        }
        (Some(n), Some(_)) => format!("{n}{of}"),
        _ => {
            let value = neutral(value).replace('\n', " ");
            match value.char_indices().nth(SHOWN) {
                Some((at, _)) => format!("{}…", &value[..at]),
                None => value,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_in_one_unit() {
        assert!(equal("shared_buffers", ("16384", "8kB"), ("131072", "kB")));
        assert!(!equal("shared_buffers", ("16384", "8kB"), ("16384", "kB")));
        assert!(equal("lock_timeout", ("60000", "ms"), ("60", "s")));
        assert!(equal("autovacuum_work_mem", ("-1", "kB"), ("-1", "MB")), "by itself");
        assert!(equal("seq_page_cost", ("1", ""), ("1.0", "")));
        assert!(!equal("wal_level", ("replica", ""), ("minimal", "")));
        assert!(equal("shared_preload_libraries", ("a, b", ""), ("a,b", "")));
        assert!(!equal("shared_preload_libraries", ("a,b", ""), ("b,a", "")), "their order matters");
        assert!(!equal("archive_command", ("cp a, b", ""), ("cp a,b", "")));
        assert!(equal("wal_compression", ("on", ""), ("pglz", "")));
        assert!(equal("log_connections", ("off", ""), ("", "")));
        assert!(!equal("cluster_name", ("", ""), ("0", "")));
    }

    #[test]
    fn people_see_sizes_and_times_and_no_secrets() {
        assert_eq!(shown("shared_buffers", "16384", "8kB"), "128 MiB");
        assert_eq!(shown("statement_timeout", "300000", "ms"), "5min");
        assert_eq!(shown("statement_timeout", "0", "ms"), "0");
        assert_eq!(shown("log_min_duration_statement", "-1", "ms"), "-1");
        assert_eq!(shown("vacuum_cost_delay", "0.5", "ms"), "0.5ms");
        assert_eq!(shown("log_line_prefix", "", ""), "empty");
        assert!(!shown("archive_command", "curl -u me:hush", "").contains("hush"));
        assert!(!shown("app.key", "hush", "").contains("hush"));
    }
}
