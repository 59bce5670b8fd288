//! When minor releases came out. Data, and how two of them are put in order.

/// Majors that the table knows.
const MAJORS: [u32; 7] = [12, 13, 14, 15, 16, 17, 18];

/// No release of that major on that day.
const NONE: u32 = u32::MAX;

/// One row a day: the day, and the minor version of each of [`MAJORS`] that came out.
#[rustfmt::skip]
const WAVES: &[(&str, [u32; 7])] = &[
    ("2019-10-03", [0, NONE, NONE, NONE, NONE, NONE, NONE]),
    ("2019-11-14", [1, NONE, NONE, NONE, NONE, NONE, NONE]),
    ("2020-02-13", [2, NONE, NONE, NONE, NONE, NONE, NONE]),
    ("2020-05-14", [3, NONE, NONE, NONE, NONE, NONE, NONE]),
    ("2020-08-13", [4, NONE, NONE, NONE, NONE, NONE, NONE]),
    ("2020-09-24", [NONE, 0, NONE, NONE, NONE, NONE, NONE]),
    ("2020-11-12", [5, 1, NONE, NONE, NONE, NONE, NONE]),
    ("2021-02-11", [6, 2, NONE, NONE, NONE, NONE, NONE]),
    ("2021-05-13", [7, 3, NONE, NONE, NONE, NONE, NONE]),
    ("2021-08-12", [8, 4, NONE, NONE, NONE, NONE, NONE]),
    ("2021-09-30", [NONE, NONE, 0, NONE, NONE, NONE, NONE]),
    ("2021-11-11", [9, 5, 1, NONE, NONE, NONE, NONE]),
    ("2022-02-10", [10, 6, 2, NONE, NONE, NONE, NONE]),
    ("2022-05-12", [11, 7, 3, NONE, NONE, NONE, NONE]),
    ("2022-06-16", [NONE, NONE, 4, NONE, NONE, NONE, NONE]),
    ("2022-08-11", [12, 8, 5, NONE, NONE, NONE, NONE]),
    ("2022-10-13", [NONE, NONE, NONE, 0, NONE, NONE, NONE]),
    ("2022-11-10", [13, 9, 6, 1, NONE, NONE, NONE]),
    ("2023-02-09", [14, 10, 7, 2, NONE, NONE, NONE]),
    ("2023-05-11", [15, 11, 8, 3, NONE, NONE, NONE]),
    ("2023-08-10", [16, 12, 9, 4, NONE, NONE, NONE]),
    ("2023-09-14", [NONE, NONE, NONE, NONE, 0, NONE, NONE]),
    ("2023-11-09", [17, 13, 10, 5, 1, NONE, NONE]),
    ("2024-02-08", [18, 14, 11, 6, 2, NONE, NONE]),
    ("2024-05-09", [19, 15, 12, 7, 3, NONE, NONE]),
    ("2024-08-08", [20, 16, 13, 8, 4, NONE, NONE]),
    ("2024-09-26", [NONE, NONE, NONE, NONE, NONE, 0, NONE]),
    ("2024-11-14", [21, 17, 14, 9, 5, 1, NONE]),
    ("2024-11-21", [22, 18, 15, 10, 6, 2, NONE]),
    ("2025-02-13", [NONE, 19, 16, 11, 7, 3, NONE]),
    ("2025-02-20", [NONE, 20, 17, 12, 8, 4, NONE]),
    ("2025-05-08", [NONE, 21, 18, 13, 9, 5, NONE]),
    ("2025-08-14", [NONE, 22, 19, 14, 10, 6, NONE]),
    ("2025-09-25", [NONE, NONE, NONE, NONE, NONE, NONE, 0]),
    ("2025-11-13", [NONE, 23, 20, 15, 11, 7, 1]),
    ("2026-02-12", [NONE, NONE, 21, 16, 12, 8, 2]),
    ("2026-02-26", [NONE, NONE, 22, 17, 13, 9, 3]),
    ("2026-05-14", [NONE, NONE, 23, 18, 14, 10, 4]),
];

/// The order of two releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// The second came with the first or later; how that is known, when it needs words.
    Fine(Option<String>),
    /// The second is older.
    Older(Option<String>),
    /// It cannot be told, and why.
    Unknown(String),
}

/// Where a release stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In this row of the table.
    Row(usize),
    /// So many releases after the table's last row.
    After(u32),
}

fn place(number: u32) -> Option<Place> {
    let (major, minor) = (number / 10_000, number % 10_000);
    let column = MAJORS.iter().position(|known| *known == major)?;
    if let Some(row) = WAVES.iter().position(|(_, minors)| minors[column] == minor) {
        return Some(Place::Row(row));
    }
    // A major that is in the last row goes on; one that is not has ended, and such a release is none that we know.
    let last = WAVES.last().map(|(_, minors)| minors[column]).filter(|last| *last != NONE)?;
    minor.checked_sub(last).filter(|steps| *steps > 0).map(Place::After)
}

/// The day on which a release came out, when the table knows it.
pub fn day(number: u32) -> Option<&'static str> {
    match place(number)? {
        Place::Row(row) => WAVES.get(row).map(|(day, _)| *day),
        Place::After(_) => None,
    }
}

/// Puts two releases in order.
pub fn order(old: u32, new: u32) -> Order {
    if old / 10_000 == new / 10_000 {
        return if new >= old { Order::Fine(None) } else { Order::Older(None) };
    }
    let name = |number: u32| super::version(number);
    let (from, to) = match (place(old), place(new)) {
        (Some(from), Some(to)) => (from, to),
        (None, _) => return Order::Unknown(format!("{} is not in the table of releases", name(old))),
        (_, None) => return Order::Unknown(format!("{} is not in the table of releases", name(new))),
    };
    let (fine, how) = match (from, to) {
        (Place::Row(from), Place::Row(to)) => (to >= from, None),
        (Place::Row(_), Place::After(_)) => {
            (true, Some(format!("{} is newer than the table of releases", name(new))))
        }
        (Place::After(_), Place::Row(_)) => {
            (false, Some(format!("{} is newer than the table of releases", name(old))))
        }
        (Place::After(from), Place::After(to)) => (
            to >= from,
            Some(format!(
                "both are newer than the table of releases, by {from} and {to}; releases come for all majors together"
            )),
        ),
    };
    if fine { Order::Fine(how) } else { Order::Older(how) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_has_no_gap() {
        assert!(WAVES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (column, major) in MAJORS.iter().enumerate() {
            let minors: Vec<u32> =
                WAVES.iter().map(|(_, row)| row[column]).filter(|minor| *minor != NONE).collect();
            assert_eq!(minors, (0..minors.len() as u32).collect::<Vec<_>>(), "{major}");
        }
    }

    #[test]
    fn releases_of_one_day_are_in_order_and_older_ones_are_not() {
        assert_eq!(order(150_018, 160_014), Order::Fine(None));
        assert_eq!(order(130_016, 150_018), Order::Fine(None));
        assert_eq!(order(150_018, 160_013), Order::Older(None));
        assert_eq!(order(140_004, 150_000), Order::Fine(None), "14.4 came out alone");
        assert!(matches!(order(150_020, 160_014), Order::Older(Some(_))));
        assert!(matches!(order(150_018, 160_015), Order::Fine(Some(_))));
        assert!(matches!(order(150_020, 160_016), Order::Fine(Some(_))));
        assert!(matches!(order(150_020, 160_015), Order::Older(Some(_))));
        assert!(matches!(order(110_022, 160_014), Order::Unknown(_)));
        assert!(matches!(order(120_030, 160_014), Order::Unknown(_)), "12 ended with 12.22");
        assert!(matches!(order(180_004, 190_001), Order::Unknown(_)));
        assert_eq!(order(150_020, 150_018), Order::Older(None));
        assert_eq!((day(150_018), day(150_020)), (Some("2026-05-14"), None));
    }
}
