//! The SQL that makes one 64-bit number of a row, from functions that give the same value in every major version since
//! 11 and on every architecture we know of ([`PROBE`] shows it on each server before it is relied on).
//!
//! Invariants: the columns go in by name, so that their order in the table does not matter and swapped values do; the
//! last step mixes, so that values swapped between rows change the sum; NULL is a value of its own; every function
//! sees all bits of its value (`numeric` with scale and sign, `float8` with the sign of zero), never a "close enough".
//!
//! Why this is sound, and cheap:
//!
//! - Each column has functions of its own, keyed with its name, so that exclusive or, the cheapest way to put hashes
//!   together that lets the processor compute them side by side, cancels nothing: not two equal values in two columns, and
//!   not two columns whose values changed places.
//! - A `bool` needs no hash: three 64-bit constants per column stand for true, false and NULL.
//! - PostgreSQL's hash of an integer folds an `int8` to 32 bits before it mixes, but takes all 64 bits of its seed. So an
//!   `int8` is the *seed* of the hash of a constant, and so is the row's combined hash in the last step: two rows that
//!   differ are taken for equal once in 2^64, not once in 2^32. The first `int8` by name goes into the last step as it is:
//!   that hashes it with all the others, and saves a hash in nearly every table. Points in time have no such way round: a change of one
//!   of them to any other is missed once in 2^32, and never when only its upper or its lower half changes.
//! - The sum over the rows is a `numeric` of the exact sum: nothing overflows, duplicates count, order does not.

use sha2::{Digest as _, Sha256};

use crate::world::pg::session::identifier;

/// A column, as far as its hash is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashed {
    /// Its name, unquoted.
    pub name: String,
    /// Name of the type in `pg_catalog` that its values have once domains are looked through; `None` for a type that
    /// somebody made.
    pub builtin: Option<String>,
    /// `typtype` of that type: b, c, e, r, m.
    pub kind: char,
    /// It is an array.
    pub array: bool,
    /// The column's own type is a domain; this is the type below it, quoted for a cast.
    pub below: Option<String>,
    /// It cannot be NULL.
    pub not_null: bool,
}

/// Shows that the server's hash functions are the ones we think they are.
pub const PROBE: &str = "select concat_ws(' ', hashint4extended(42, 1234567890123456789), hashint4extended(-5, 7), \
     hashint2extended(3::int2, 7), hashtextextended('holdpoint \u{2713}' collate \"C\", 7), \
     hashfloat8extended(0.1, 7), timestamp_hash_extended('2020-02-29 12:00:00.000001', 7), \
     timestamp_hash_extended(timezone('0'::interval, '1999-12-31 12:00:00.000001+14'::timestamptz), 7), \
     uuid_hash_extended('00112233-4455-6677-8899-aabbccddeeff', 7), hash_array_extended(array['\\x00ff'::bytea], 7), \
     hashint4extended(date_mi('2020-02-29', '2000-01-01'), 7), hash_array_extended(array[interval_send('1 month 2 days 3 us')], 7), \
     hashtextextended(textin(bpcharout('ab '::bpchar)) collate \"C\", 7), \
     hashinetextended('10.0.0.1/8', 7), time_hash_extended('12:34:56.7', 7), hashoidextended(99::oid, 7))";

/// What [`PROBE`] gives.
pub const PROBED: &str = "8324381110957387447 -1153735631166043584 -2688544301605215345 2889648945258520220 5633642110734346436 7636468627218866520 -2722932551527414515 -8574076941708933926 8413202912854121072 -3444578315918368373 -1424959801180891087 -1658414107735151202 9173365533024078552 -3371759505823484898 6429863883385864295";

/// Marks digests made in this way. Another way needs another mark, so that nobody compares what cannot be compared.
pub const FORMAT: &str = "pg3";

/// A number that stands for a name.
fn number(text: &str) -> i64 {
    let digest = Sha256::digest(text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}

fn constant(number: i64) -> String {
    format!("'{number}'::int8")
}

fn constant32(number: i64) -> String {
    format!("'{}'::int4", number as i32)
}

/// A `bool`, which may be NULL.
const BOOL: &str = "case when $v then $t when not $v then $f end";

/// An `int8`, which is a seed.
const INT8: &str = "hashint4extended($i, $v)";

/// How a value is hashed: SQL with `$v` for it, and constants made of the column's name: `$s` (64 bits), `$i` (32 bits),
/// `$t` and `$f`.
fn function(column: &Hashed) -> &'static str {
    const TEXT: &str = "hashtextextended($v::text collate \"C\", $s)";
    if column.array && !matches!(column.builtin.as_deref(), Some("int2vector" | "oidvector")) {
        return "hashtextextended(textin(array_out($v)) collate \"C\", $s)";
    }
    match column.kind {
        'e' => return "hashtextextended(textin(enum_out($v)) collate \"C\", $s)",
        'c' => return "hashtextextended(textin(record_out($v)) collate \"C\", $s)",
        'r' => return "hashtextextended(textin(range_out($v)) collate \"C\", $s)",
        'm' => return "hashtextextended(textin(multirange_out($v)) collate \"C\", $s)",
        _ => {}
    }
    let Some(builtin) = &column.builtin else {
        // A cast to text may be somebody's own function; `format` goes through the type's output function.
        return "case when $v is null then null else hashtextextended(format('%s', $v) collate \"C\", $s) end";
    };
    match builtin.as_str() {
        "bool" => BOOL,
        "int2" => "hashint2extended($v, $s)",
        "int4" => "hashint4extended($v, $s)",
        "int8" => INT8,
        "oid" => "hashoidextended($v, $s)",
        "char" => "hashcharextended($v, $s)",
        "text" | "varchar" => "hashtextextended($v collate \"C\", $s)",
        // A cast to text would drop its trailing blanks.
        "bpchar" => "hashtextextended(textin(bpcharout($v)) collate \"C\", $s)",
        "uuid" => "uuid_hash_extended($v, $s)",
        // The hash of a float does not tell 0 from -0.
        "float8" => {
            "case when $v = 0 then hashtextextended($v::text collate \"C\", $s) else hashfloat8extended($v, $s) end"
        }
        "float4" => {
            "case when $v = 0 then hashtextextended($v::text collate \"C\", $s) else hashfloat4extended($v, $s) end"
        }
        "timestamp" => "timestamp_hash_extended($v, $s)",
        // With an interval it is a subtraction; with a name it would look the zone up for every row.
        "timestamptz" => "timestamp_hash_extended(timezone('0'::interval, $v), $s)",
        "time" => "time_hash_extended($v, $s)",
        "timetz" => "timetz_hash_extended($v, $s)",
        "inet" | "cidr" => "hashinetextended($v, $s)",
        "macaddr" => "hashmacaddrextended($v, $s)",
        "macaddr8" => "hashmacaddr8extended($v, $s)",
        "pg_lsn" => "pg_lsn_hash_extended($v, $s)",
        // Days; what is infinite has no number of days.
        "date" => {
            "case when isfinite($v) then hashint4extended(date_mi($v, '2000-01-01'), $s) \
             else hashtextextended($v::text collate \"C\", $s) end"
        }
        "bytea" => "hash_array_extended(array[$v], $s)",
        // The hash of an interval takes a month for thirty days.
        "interval" => "hash_array_extended(array[interval_send($v)], $s)",
        // `numeric` too: its hash knows neither sign nor scale.
        _ => TEXT,
    }
}

fn value(column: &Hashed) -> String {
    let name = identifier(&column.name);
    match &column.below {
        Some(below) => format!("{name}::{below}"),
        None => name,
    }
}

/// The expression for a row with these columns; `None` when there are none to hash.
///
/// Each value but the first `int8` is hashed with a key made of its column's name, NULL has a number of its own, all of them
/// are combined by exclusive or, and one more hash mixes all of it.
pub fn row(columns: &[Hashed]) -> Option<String> {
    let columns = sorted(columns);
    // One only: a second one as it is could cancel the first.
    let plain = columns.iter().position(|column| function(column) == INT8);
    let term = |(at, column): (usize, &&Hashed)| term(column, Some(at) == plain);
    let terms: Vec<String> = columns.iter().enumerate().map(term).collect();
    (!terms.is_empty())
        .then(|| format!("hashint4extended({}, {})", constant32(number("row")), terms.join(" # ")))
}

fn term(column: &Hashed, plain: bool) -> String {
    let about = |what: &str| number(&format!("{what} {}", column.name));
    let function = match function(column) {
        _ if plain => "$v",
        BOOL if column.not_null => "case when $v then $t else $f end",
        other => other,
    };
    let hash = function
        .replace("$s", &constant(number(&column.name)))
        .replace("$i", &constant32(number(&column.name)))
        .replace("$t", &constant(about("true")))
        .replace("$f", &constant(about("false")))
        // Last: a name may hold any of these.
        .replace("$v", &format!("({})", value(column)));
    match column.not_null {
        true => hash,
        false => format!("coalesce({hash}, {})", constant(about("NULL"))),
    }
}

fn sorted(columns: &[Hashed]) -> Vec<&Hashed> {
    let mut columns: Vec<&Hashed> = columns.iter().collect();
    columns.sort_by(|a, b| a.name.cmp(&b.name));
    columns
}

/// A short name for the way rows are hashed: two digests may be compared only when it is the same.
pub fn shape(columns: &[Hashed]) -> String {
    let ways: String =
        sorted(columns).into_iter().map(|c| format!("{}\u{0}{}\u{0}", c.name, function(c))).collect();
    format!("{:08x}", number(&ways) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, builtin: &str, not_null: bool) -> Hashed {
        Hashed {
            name: name.into(),
            builtin: Some(builtin.into()),
            kind: 'b',
            array: false,
            below: None,
            not_null,
        }
    }

    #[test]
    fn order_in_the_table_does_not_matter_and_names_do() {
        let (a, b) = (column("a", "int8", true), column("b", "text", false));
        assert_eq!(row(&[a.clone(), b.clone()]), row(&[b.clone(), a.clone()]));
        let renamed = Hashed { name: "c".into(), ..b.clone() };
        assert_ne!(row(&[a.clone(), b]), row(&[a, renamed]));
        assert_eq!(row(&[]), None);
    }

    #[test]
    fn one_whole_number_is_mixed_with_the_rest_and_the_others_are_hashed() {
        let (a, b) = (column("a", "int8", true), column("b", "int8", false));
        let sql = row(&[b.clone(), column("0", "text", true), a.clone()]).unwrap();
        assert!(sql.contains(" # (\"a\") # coalesce(hashint4extended("), "{sql}");
        let null = row(&[b]).unwrap();
        assert!(null.contains(", coalesce((\"b\"), '"), "{null}");
    }

    #[test]
    fn names_are_quoted_and_the_text_grows_with_the_columns() {
        let columns: Vec<Hashed> = (0..40)
            .map(|i| {
                column(
                    &format!("c\"; drop table t; -- {i}"),
                    if i % 2 == 0 { "float8" } else { "text" },
                    true,
                )
            })
            .collect();
        let sql = row(&columns).unwrap();
        assert!(sql.contains("\"c\"\"; drop table t; -- 1\""), "{sql}");
        assert!(sql.len() < 20_000, "{}", sql.len());
    }

    #[test]
    fn a_constraint_does_not_change_the_digest_and_a_type_does() {
        let a = column("a", "int8", true);
        assert_eq!(shape(std::slice::from_ref(&a)), shape(&[column("a", "int8", false)]));
        assert_ne!(shape(&[a]), shape(&[column("a", "text", true)]));
    }
}
