//! The canonical forms: how a PostgreSQL value and an SQLite value come to the same 64-bit hash, or that they cannot.
//!
//! Invariants: the form follows from PostgreSQL's type alone; every SQLite value is looked at by its own storage class,
//! and one that has no counterpart in the type is a [`Misfit`], never converted in silence; every bit of a value
//! counts; NULL is a value of its own.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::seeds::{Seeds, constant};
use super::{decimal, json, moment};
use crate::check::data::pg::hash::Hashed;
use crate::world::pg::session::identifier;
use crate::world::sqlite::Cell;

/// What a PostgreSQL type is compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `boolean`: 0 and 1.
    Bool,
    /// `smallint`.
    Int2,
    /// `integer`.
    Int4,
    /// `bigint`.
    Int8,
    /// `oid`.
    Oid,
    /// `double precision`, by its bits.
    Float8,
    /// `real`: SQLite's number is rounded as PostgreSQL rounds it.
    Float4,
    /// `numeric`, without trailing zeros.
    Numeric,
    /// `text`, `varchar`, `json`, `xml`, enums: byte by byte.
    Text,
    /// `char(n)`, without trailing blanks.
    Padded,
    /// `bytea`.
    Bytes,
    /// `uuid`.
    Uuid,
    /// `date`.
    Date,
    /// `timestamp`.
    Timestamp,
    /// `timestamptz`.
    Timestamptz,
    /// `jsonb`, as PostgreSQL writes it.
    Jsonb,
    /// Any other type, by the text that PostgreSQL makes of it.
    Word,
}

/// Why a value of SQLite has no counterpart in a column of PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Misfit {
    /// Its storage class does not belong there.
    Class,
    /// The type has no such value.
    Range,
    /// Text with a NUL byte.
    Nul,
    /// Text that is not UTF-8.
    Utf8,
}

impl Misfit {
    /// What is wrong with it.
    pub fn word(self) -> &'static str {
        match self {
            Misfit::Class => "of another kind",
            Misfit::Range => "outside its type",
            Misfit::Nul => "with a NUL byte",
            Misfit::Utf8 => "not in UTF-8",
        }
    }
}

/// What a value came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Its hash.
    Exact(i64),
    /// Its hash after something that was declared: another storage class, or rounding to single precision.
    Bent(i64),
    /// It has no counterpart.
    Not(Misfit),
}

/// Whether PostgreSQL's value may be in another storage class, and what happens to NUL bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leave {
    /// The same value in another storage class counts as the same.
    pub storage: bool,
    /// NUL bytes are taken out of text.
    pub no_nul: bool,
}

impl Form {
    /// What a column is compared as; `None` for a type that has nothing like it in SQLite.
    pub fn of(column: &Hashed) -> Option<Form> {
        if column.array {
            return Some(Form::Word);
        }
        match (column.kind, column.builtin.as_deref()) {
            ('e', _) => return Some(Form::Text),
            ('c' | 'r' | 'm', _) | (_, None) => return Some(Form::Word),
            _ => {}
        }
        Some(match column.builtin.as_deref().unwrap_or_default() {
            "bool" => Form::Bool,
            "int2" => Form::Int2,
            "int4" => Form::Int4,
            "int8" => Form::Int8,
            "oid" => Form::Oid,
            "float8" => Form::Float8,
            "float4" => Form::Float4,
            "numeric" => Form::Numeric,
            "text" | "varchar" | "name" | "json" | "xml" => Form::Text,
            "bpchar" => Form::Padded,
            "bytea" => Form::Bytes,
            "uuid" => Form::Uuid,
            "date" => Form::Date,
            "timestamp" => Form::Timestamp,
            "timestamptz" => Form::Timestamptz,
            "jsonb" => Form::Jsonb,
            "tsvector" | "tsquery" => return None,
            _ => Form::Word,
        })
    }

    /// Storage classes whose own hash ([`Seeds::plain`]) is this form's: what a record of an SQLite file can show.
    pub fn plain_classes(self) -> &'static [&'static str] {
        match self {
            Form::Bool | Form::Int2 | Form::Int4 | Form::Int8 | Form::Oid => &["null", "integer"],
            Form::Float8 => &["null", "real", "single"],
            Form::Float4 => &["null", "single"],
            Form::Text | Form::Word => &["null", "text", "text ending in a blank"],
            Form::Padded => &["null", "text"],
            Form::Bytes => &["null", "blob"],
            _ => &["null"],
        }
    }

    /// The term of a column for the server; `key` is the name that its seeds come from.
    pub fn term(self, column: &Hashed, key: &str) -> String {
        let name = identifier(&column.name);
        let value = match &column.below {
            Some(below) => format!("({name}::{below})"),
            None => name,
        };
        let seeds = Seeds::of(key);
        let seed = constant(seeds.value);
        let text = |value: &str| format!("hashtextextended({value} collate \"C\", {seed})");
        let float = |value: &str| {
            format!(
                "case when {value} = 0 then {} else hashfloat8extended({value}, {seed}) end",
                text(&format!("{value}::text"))
            )
        };
        let long = |value: &str| {
            format!(
                "case when {value} between '-2147483648' and '2147483647' then hashint8extended({value}, {seed}) \
                 else hashint8extended({value}, {seed}) # hashint8extended({value} >> 32, {}) end",
                constant(seeds.high)
            )
        };
        let hash = match self {
            Form::Bool | Form::Int2 | Form::Int4 => format!("hashint4extended({value}::int4, {seed})"),
            Form::Int8 => long(&value),
            Form::Oid => long(&format!("({value}::int8)")),
            Form::Float8 => float(&value),
            Form::Float4 => float(&format!("({value}::float8)")),
            Form::Numeric => text(&format!("trim_scale({value})::text")),
            Form::Text if column.kind == 'e' => text(&format!("textin(enum_out({value}))")),
            Form::Text | Form::Padded | Form::Date | Form::Timestamp | Form::Jsonb => {
                text(&format!("{value}::text"))
            }
            Form::Timestamptz => text(&format!("timezone('UTC', {value})::text")),
            // The hash of an array that holds NULL is not NULL.
            Form::Bytes if column.not_null => format!("hash_array_extended(array[{value}], {seed})"),
            Form::Bytes => {
                format!("case when {value} is not null then hash_array_extended(array[{value}], {seed}) end")
            }
            Form::Uuid => format!("uuid_hash_extended({value}, {seed})"),
            // A cast to text may be somebody's own function; `format` goes through the type's output function.
            Form::Word => {
                format!("case when {value} is not null then {} end", text(&format!("format('%s', {value})")))
            }
        };
        match column.not_null {
            true => format!("({hash})"),
            false => format!("coalesce({hash}, {})", constant(seeds.null)),
        }
    }

    /// A column as text for people, for the server; SQLite's [`show`] gives the same.
    pub fn show_sql(self, column: &str) -> String {
        let name = identifier(column);
        match self {
            Form::Bool => format!("({name}::int4)::text"),
            Form::Bytes => format!("'x''' || encode({name}, 'hex') || ''''"),
            _ => format!("{name}::text"),
        }
    }

    /// The hash of a value of SQLite in this form.
    pub fn fit(self, cell: Cell<'_>, seeds: Seeds, leave: Leave) -> Fit {
        let whole = |n: i64, low: i64, high: i64| match (low..=high).contains(&n) {
            true => Fit::Exact(seeds.integer(n)),
            false => Fit::Not(Misfit::Range),
        };
        let bounds = match self {
            Form::Bool => (0, 1),
            Form::Int2 => (i16::MIN.into(), i16::MAX.into()),
            Form::Int4 => (i32::MIN.into(), i32::MAX.into()),
            Form::Oid => (0, u32::MAX.into()),
            _ => (i64::MIN, i64::MAX),
        };
        match (self, cell) {
            (_, Cell::Null) => Fit::Exact(seeds.null),
            (Form::Bool | Form::Int2 | Form::Int4 | Form::Int8 | Form::Oid, cell) => match cell {
                Cell::Integer(n) => whole(n, bounds.0, bounds.1),
                Cell::Text(text) if leave.storage => match number(text) {
                    Some(n) => whole(n, bounds.0, bounds.1).bent(),
                    None => Fit::Not(Misfit::Class),
                },
                Cell::Real(n) if leave.storage && n == (n as i64) as f64 && n.abs() < 9e18 => {
                    whole(n as i64, bounds.0, bounds.1).bent()
                }
                _ => Fit::Not(Misfit::Class),
            },
            (Form::Float8, Cell::Real(n)) => Fit::Exact(seeds.float(n)),
            (Form::Float8, Cell::Integer(n)) => match exactly(n) {
                Some(n) => Fit::Exact(seeds.float(n)),
                None => Fit::Not(Misfit::Range),
            },
            (Form::Float4, Cell::Real(n)) => single(n, seeds),
            (Form::Float4, Cell::Integer(n)) => match exactly(n) {
                Some(n) => single(n, seeds),
                None => Fit::Not(Misfit::Range),
            },
            (Form::Numeric, Cell::Integer(n)) => Fit::Exact(seeds.text(n.to_string().as_bytes())),
            (Form::Numeric, Cell::Real(n)) => of(decimal::of_float(n).as_deref(), seeds, Misfit::Range),
            (Form::Numeric, Cell::Text(text)) => of(decimal::trimmed(text).as_deref(), seeds, Misfit::Class),
            (Form::Bytes, Cell::Blob(bytes)) => Fit::Exact(seeds.blob(bytes)),
            (Form::Bytes, Cell::Text(text)) if leave.storage => Fit::Bent(seeds.blob(text)),
            (Form::Uuid, Cell::Text(text)) => match uuid(text) {
                Some(bytes) => Fit::Exact(seeds.text(&bytes)),
                None => Fit::Not(Misfit::Range),
            },
            (Form::Uuid, Cell::Blob(bytes)) if bytes.len() == 16 => Fit::Exact(seeds.text(bytes)),
            (Form::Text | Form::Word | Form::Padded, Cell::Text(text)) => match utf8(text, leave) {
                Ok(text) if self == Form::Padded => Fit::Exact(seeds.text(unpadded(&text))),
                Ok(Cow::Borrowed(text)) => Fit::Exact(seeds.text(text)),
                Ok(Cow::Owned(text)) => Fit::Bent(seeds.text(&text)),
                Err(misfit) => Fit::Not(misfit),
            },
            (Form::Text, Cell::Blob(bytes)) if leave.storage => match utf8(bytes, leave) {
                Ok(text) => Fit::Bent(seeds.text(&text)),
                Err(misfit) => Fit::Not(misfit),
            },
            (Form::Text, Cell::Integer(n)) if leave.storage => {
                Fit::Bent(seeds.text(n.to_string().as_bytes()))
            }
            (Form::Date, Cell::Text(text)) => of(moment::date(text).as_deref(), seeds, Misfit::Range),
            (Form::Timestamp, Cell::Text(text)) => of(moment::local(text).as_deref(), seeds, Misfit::Range),
            (Form::Timestamptz, Cell::Text(text)) => of(moment::utc(text).as_deref(), seeds, Misfit::Range),
            (Form::Jsonb, Cell::Text(text)) => match utf8(text, Leave::default()) {
                Ok(text) => of(json::canonical(&text).as_deref(), seeds, Misfit::Range),
                Err(misfit) => Fit::Not(misfit),
            },
            _ => Fit::Not(Misfit::Class),
        }
    }
}

impl Fit {
    fn bent(self) -> Self {
        if let Fit::Exact(hash) = self { Fit::Bent(hash) } else { self }
    }
}

fn of(canonical: Option<&str>, seeds: Seeds, otherwise: Misfit) -> Fit {
    canonical.map_or(Fit::Not(otherwise), |text| Fit::Exact(seeds.text(text.as_bytes())))
}

/// A whole number as a float, when that loses nothing.
fn exactly(n: i64) -> Option<f64> {
    let float = n as f64;
    (float < 9.3e18 && i128::from(n) == float as i128).then_some(float)
}

fn single(n: f64, seeds: Seeds) -> Fit {
    let rounded = n as f32;
    match f64::from(rounded) {
        _ if rounded.is_infinite() && !n.is_infinite() => Fit::Not(Misfit::Range),
        wide if wide.to_bits() == n.to_bits() => Fit::Exact(seeds.float(wide)),
        wide => Fit::Bent(seeds.float(wide)),
    }
}

/// The class of a value as a record keeps it: as fine as [`Form::plain_classes`] needs it.
pub fn class(cell: &Cell<'_>) -> &'static str {
    match cell {
        Cell::Null => "null",
        Cell::Integer(_) => "integer",
        Cell::Real(n) if f64::from(*n as f32).to_bits() == n.to_bits() => "single",
        Cell::Real(_) => "real",
        Cell::Text(text) if text.contains(&0) => "text with a NUL byte",
        Cell::Text(text) if text.ends_with(b" ") => "text ending in a blank",
        Cell::Text(_) => "text",
        Cell::Blob(_) => "blob",
    }
}

/// A whole number in the only way that a database writes it.
fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse::<i64>().ok().filter(|n| n.to_string() == text)
}

fn unpadded(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b' ').map_or(0, |at| at + 1);
    &text[..end]
}

fn utf8(text: &[u8], leave: Leave) -> Result<Cow<'_, [u8]>, Misfit> {
    if std::str::from_utf8(text).is_err() {
        return Err(Misfit::Utf8);
    }
    match text.contains(&0) {
        false => Ok(Cow::Borrowed(text)),
        true if leave.no_nul => Ok(Cow::Owned(text.iter().copied().filter(|byte| *byte != 0).collect())),
        true => Err(Misfit::Nul),
    }
}

/// 32 hexadecimal digits, with hyphens where they belong or none.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let hyphens: Vec<usize> = (0..text.len()).filter(|at| text[*at] == b'-').collect();
    if !hyphens.is_empty() && hyphens != [8, 13, 18, 23] {
        return None;
    }
    let digits: Option<Vec<u8>> = text
        .iter()
        .filter(|byte| **byte != b'-')
        .map(|byte| char::from(*byte).to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits.filter(|digits| digits.len() == 32)?;
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = pair.iter().fold(0, |byte, digit| (byte << 4) | digit);
    }
    Some(bytes)
}

/// A value of SQLite as text for people, as the server shows its own.
pub fn show(cell: &Cell<'_>) -> String {
    cell.show().chars().take(SHOWN).collect()
}

/// At most so many characters of a value are shown.
pub const SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(form: Form, cell: Cell<'_>) -> Fit {
        form.fit(cell, Seeds::of("c"), Leave::default())
    }

    fn bent(form: Form, cell: Cell<'_>) -> Fit {
        form.fit(cell, Seeds::of("c"), Leave { storage: true, no_nul: true })
    }

    #[test]
    fn a_record_keeps_classes_as_fine_as_forms_need_them() {
        for (form, cell, shows) in [
            (Form::Float4, Cell::Real(0.5), true),
            (Form::Float4, Cell::Real(0.1), false),
            (Form::Float8, Cell::Real(0.5), true),
            (Form::Float8, Cell::Integer(1), false),
            (Form::Padded, Cell::Text(b"x"), true),
            (Form::Padded, Cell::Text(b"x "), false),
            (Form::Text, Cell::Text(b"x "), true),
            (Form::Text, Cell::Text(b"\0"), false),
            (Form::Bool, Cell::Integer(1), true),
            (Form::Jsonb, Cell::Null, true),
            (Form::Jsonb, Cell::Text(b"{}"), false),
        ] {
            assert_eq!(form.plain_classes().contains(&class(&cell)), shows, "{form:?} {cell:?}");
            if shows {
                assert_eq!(fit(form, cell), Fit::Exact(Seeds::of("c").plain(cell)), "{form:?} {cell:?}");
            }
        }
    }

    #[test]
    fn no_value_is_converted_in_silence() {
        use Misfit::{Class, Nul, Range, Utf8};
        for (form, cell, misfit) in [
            (Form::Bool, Cell::Integer(2), Range),
            (Form::Int2, Cell::Integer(40_000), Range),
            (Form::Int4, Cell::Integer(1 << 31), Range),
            (Form::Oid, Cell::Integer(-1), Range),
            (Form::Int8, Cell::Text(b"5"), Class),
            (Form::Int8, Cell::Real(5.0), Class),
            (Form::Float8, Cell::Integer((1 << 53) + 1), Range),
            (Form::Float8, Cell::Integer(i64::MAX), Range),
            (Form::Float8, Cell::Text(b"1.5"), Class),
            (Form::Float4, Cell::Real(1e300), Range),
            (Form::Text, Cell::Integer(5), Class),
            (Form::Text, Cell::Blob(b"x"), Class),
            (Form::Text, Cell::Text(b"a\0b"), Nul),
            (Form::Text, Cell::Text(b"\xff"), Utf8),
            (Form::Bytes, Cell::Text(b"x"), Class),
            (Form::Timestamp, Cell::Integer(1_700_000_000), Class),
            (Form::Uuid, Cell::Text(b"00112233-4455"), Range),
            (Form::Numeric, Cell::Text(b"many"), Class),
            (Form::Jsonb, Cell::Text(b"{"), Range),
        ] {
            assert_eq!(fit(form, cell), Fit::Not(misfit), "{form:?} {cell:?}");
        }
        assert_eq!(bent(Form::Int8, Cell::Text(b"005")), Fit::Not(Class));
        assert_eq!(bent(Form::Int8, Cell::Real(5.5)), Fit::Not(Class));
    }

    #[test]
    fn what_was_declared_is_compared_by_its_value() {
        let seeds = Seeds::of("c");
        assert_eq!(bent(Form::Text, Cell::Integer(-7)), Fit::Bent(seeds.text(b"-7")));
        assert_eq!(bent(Form::Text, Cell::Blob(b"abc")), Fit::Bent(seeds.text(b"abc")));
        assert_eq!(bent(Form::Text, Cell::Text(b"a\0b\0")), Fit::Bent(seeds.text(b"ab")));
        assert_eq!(bent(Form::Bytes, Cell::Text(b"abc")), Fit::Bent(seeds.blob(b"abc")));
        assert_eq!(bent(Form::Int4, Cell::Text(b"-7")), Fit::Bent(seeds.integer(-7)));
        assert_eq!(bent(Form::Int4, Cell::Real(7.0)), Fit::Bent(seeds.integer(7)));
        assert_eq!(fit(Form::Float4, Cell::Real(0.1)), Fit::Bent(seeds.float(f64::from(0.1f32))));
        assert_eq!(fit(Form::Float4, Cell::Real(0.5)), Fit::Exact(seeds.float(0.5)));
        assert_eq!(fit(Form::Padded, Cell::Text(b"ab  ")), Fit::Exact(seeds.text(b"ab")));
    }

    #[test]
    fn uuids_in_each_of_their_spellings() {
        let same = fit(Form::Uuid, Cell::Blob(&(0..16).map(|i| i * 0x11).collect::<Vec<u8>>()));
        for text in ["00112233-4455-6677-8899-AABBCCDDEEFF", "00112233445566778899aabbccddeeff"] {
            assert_eq!(fit(Form::Uuid, Cell::Text(text.as_bytes())), same);
        }
    }
}
