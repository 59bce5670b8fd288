//! What the checks of sequences share: which sequence feeds which column, what a column can hold, and where a sequence stands.

use super::survey::cell;
use crate::world::pg::{Row, Session, literal};

/// SQL for the largest whole number that a column (`$a`, of type `$y`) can hold; NULL when its type sets no end.
macro_rules! holds {
    ($a:literal, $y:literal) => {
        concat!(
            "case coalesce(nullif(",
            $y,
            ".typbasetype, 0), ",
            $y,
            ".oid) when 21 then '32767' when 23 then '2147483647' when 20 then '9223372036854775807' when 1700 then \
            (select repeat('9', ((m - 4) >> 16 & 65535) - ((m - 4) & 2047)) from (select case when ",
            $y,
            ".typbasetype <> 0 then ",
            $y,
            ".typtypmod else ",
            $a,
            ".atttypmod end) x(m) where m >= 4) end"
        )
    };
}

/// Sequence, step, cycles, table, column (quoted), type fits, how it is fed, type, largest value that the column holds.
pub const PAIRS: &str = concat!(
    "with used as ( \
    select d.objid as seq, d.refobjid as rel, d.refobjsubid::int2 as att from pg_depend d \
    where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0 and d.deptype in ('a', 'i') \
    union select d.refobjid, a.adrelid, a.adnum from pg_depend d join pg_attrdef a on a.oid = d.objid \
    where d.classid = 'pg_attrdef'::regclass and d.refclassid = 'pg_class'::regclass) \
    select format('%I.%I', sn.nspname, s.relname), q.seqincrement, q.seqcycle, format('%I.%I', tn.nspname, t.relname), \
    quote_ident(a.attname), coalesce(nullif(y.typbasetype, 0), y.oid) in (20, 21, 23, 700, 701, 1700) and t.relkind in ('r', 'p'), \
    a.attidentity <> '' or d.adbin is null or pg_get_expr(d.adbin, d.adrelid) ~ '^nextval\\(''([^'']|'''')+''::regclass\\)$', \
    format_type(a.atttypid, a.atttypmod), ",
    holds!("a", "y"),
    " from used u join pg_sequence q on q.seqrelid = u.seq \
    join pg_class s on s.oid = u.seq join pg_namespace sn on sn.oid = s.relnamespace \
    join pg_class t on t.oid = u.rel join pg_namespace tn on tn.oid = t.relnamespace \
    join pg_attribute a on a.attrelid = u.rel and a.attnum = u.att and not a.attisdropped join pg_type y on y.oid = a.atttypid \
    left join pg_attrdef d on d.adrelid = u.rel and d.adnum = u.att \
    where t.relpersistence <> 't' and s.relpersistence <> 't' \
    and not (t.relispartition and exists (select from pg_inherits i join used p on p.rel = i.inhparent and p.seq = u.seq \
        where i.inhrelid = t.oid)) order by 1, 4, 5"
);

/// Foreign keys by column: the table and column referred to, those that refer, their type, and the largest value that they hold.
pub const REFERENCES: &str = concat!(
    "select format('%I.%I', pn.nspname, p.relname), quote_ident(pa.attname), format('%I.%I', tn.nspname, t.relname), \
    quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), ",
    holds!("a", "y"),
    " from pg_constraint c cross join lateral unnest(c.confkey, c.conkey) k(there, here) \
    join pg_class p on p.oid = c.confrelid join pg_namespace pn on pn.oid = p.relnamespace \
    join pg_attribute pa on pa.attrelid = p.oid and pa.attnum = k.there \
    join pg_class t on t.oid = c.conrelid join pg_namespace tn on tn.oid = t.relnamespace \
    join pg_attribute a on a.attrelid = t.oid and a.attnum = k.here join pg_type y on y.oid = a.atttypid \
    where c.contype = 'f' and c.conparentid = 0 order by 1, 2, 3, 4"
);

/// All sequences: name, step, cycles.
pub const SEQUENCES: &str = "select format('%I.%I', n.nspname, c.relname), q.seqincrement, q.seqcycle from pg_sequence q \
    join pg_class c on c.oid = q.seqrelid join pg_namespace n on n.oid = c.relnamespace \
    where c.relpersistence <> 't' order by 1";

/// Where a sequence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its last value, or the first one when it was never called.
    pub last: i64,
    /// The last value was given.
    pub called: bool,
    /// Its step, below zero when it descends.
    pub step: i64,
    /// It starts again at its end.
    pub cycles: bool,
}

impl Standing {
    /// From last value, called, step, cycles.
    pub fn read(row: &[Option<String>]) -> Result<Standing, String> {
        let number =
            |column| cell(row, column).parse::<i64>().map_err(|_| "a sequence has no number".to_owned());
        let yes = |column| matches!(cell(row, column), "t" | "true");
        Ok(Standing { last: number(0)?, called: yes(1), step: number(2)?, cycles: yes(3) })
    }

    /// The next value that it gives.
    pub fn next(&self) -> i128 {
        i128::from(self.last) + if self.called { i128::from(self.step) } else { 0 }
    }

    /// It would give a value that the other one gave already.
    pub fn behind(&self, other: &Standing) -> bool {
        if other.step < 0 { self.next() > other.next() } else { self.next() < other.next() }
    }

    /// Its next value lies beyond this one.
    pub fn beyond(&self, value: i128) -> bool {
        if self.step < 0 { self.next() < value } else { self.next() > value }
    }
}

/// Where sequences stand, by name; `rows` begin with name, step, cycles. They must be readable.
pub async fn standings(session: &Session, rows: &[Row]) -> Result<Vec<(String, Standing)>, String> {
    let mut all = Vec::new();
    for batch in rows.chunks(200) {
        let parts: Vec<String> = batch
            .iter()
            .map(|row| {
                let (name, step, cycles) = (cell(row, 0), cell(row, 1), cell(row, 2));
                format!(
                    "select {}, last_value, is_called, {}, {} from {name}",
                    literal(name),
                    literal(step),
                    literal(cycles)
                )
            })
            .collect();
        for row in session.query(&parts.join(" union all ")).await.map_err(|error| error.message)? {
            all.push((cell(&row, 0).to_owned(), Standing::read(&row[1..])?));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(last: i64, called: bool, step: i64) -> Standing {
        Standing { last, called, step, cycles: false }
    }

    #[test]
    fn the_next_value_must_be_a_new_one() {
        assert!(standing(100, true, 1).beyond(100));
        assert!(!standing(100, false, 1).beyond(100), "100 would be given again");
        assert!(!standing(99, true, 1).beyond(100));
        assert!(standing(-100, true, -1).beyond(-100));
        assert!(!standing(-99, true, -1).beyond(-100));
        assert!(standing(i64::MAX, true, 1).beyond(i128::from(i64::MAX)), "no overflow");
        assert!(standing(1, true, 1).behind(&standing(2, true, 1)));
        assert!(!standing(5, false, 1).behind(&standing(4, true, 1)));
        assert!(standing(-1, true, -1).behind(&standing(-5, true, -1)));
    }
}
