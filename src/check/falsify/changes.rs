//! Changes that the measurement has to notice, made where they cannot last: in a transaction of a PostgreSQL server that
//! is rolled back, or in a private copy of an SQLite file.

use serde_json::Value;

use super::list;
use crate::check::data::compare::is_called;
use crate::runbook::CheckSpec;
use crate::world::sqlite::copy;

/// A change for one kind of check.
#[derive(Debug)]
pub struct Kind {
    name: &'static str,
    /// What is done, for the check's page.
    pub words: &'static str,
    /// Makes statements on PostgreSQL: statement, table, words.
    makes: &'static str,
    /// Whether a statement has to affect a row.
    rows: bool,
    /// The same on SQLite.
    lite: Option<Lite>,
    /// Whether the check has to fail; else it depends on what staging holds.
    sure: bool,
}

#[derive(Debug, Clone, Copy)]
enum Lite {
    Row,
    Value,
    Sql(&'static str),
}

/// A change for one check.
#[derive(Debug)]
pub struct Broken {
    /// The target that is changed.
    pub target: String,
    /// Databases to try; the target's own and then all others when none is named.
    pub databases: Vec<String>,
    /// Makes statements on PostgreSQL.
    pub makes: &'static str,
    /// Whether a statement has to affect a row.
    pub rows: bool,
    /// The same on SQLite.
    pub lite: Option<copy::Change>,
    /// Whether the check has to fail.
    pub sure: bool,
    tables: Vec<String>,
    except: Vec<String>,
}

impl Broken {
    /// Whether the check looks at this table.
    pub fn wants(&self, database: &str, table: &str) -> bool {
        looks(&self.tables, &self.except, database, table)
    }

    /// The same for the tables of an SQLite file.
    pub fn filter(&self) -> impl Fn(&str) -> bool + Send + 'static {
        let (tables, except) = (self.tables.clone(), self.except.clone());
        move |table| looks(&tables, &except, "main", table)
    }
}

fn looks(tables: &[String], except: &[String], database: &str, table: &str) -> bool {
    let named = |names: &[String]| names.iter().any(|name| is_called(database, table, name));
    (tables.is_empty() || named(tables)) && !named(except)
}

/// Tables of the database's users, those without triggers first, small ones first.
macro_rules! tables {
    ($select:literal, $join:literal, $where:literal, $order:literal) => {
        concat!(
            "select ",
            $select,
            " from pg_class c join pg_namespace n on n.oid = c.relnamespace ",
            $join,
            " where c.relkind = 'r' and c.relpersistence <> 't' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' ",
            $where,
            " order by ",
            $order,
            " exists (select from pg_trigger t where t.tgrelid = c.oid), c.relpages, n.nspname, c.relname limit 500"
        )
    };
}

const ROW: &str = tables!(
    "format('delete from only %1$I.%2$I where ctid = (select ctid from only %1$I.%2$I limit 1)', n.nspname, c.relname), \
     format('%I.%I', n.nspname, c.relname), format('a row of %I.%I deleted', n.nspname, c.relname)",
    "",
    "",
    ""
);

const VALUE: &str = tables!(
    "format('update only %1$I.%2$I set %3$I = %4$s where ctid = (select ctid from only %1$I.%2$I where %3$I is not null limit 1)', \
       n.nspname, c.relname, a.attname, format(case when a.atttypid in (25, 1043, 1042) then '%1$I || ''~''' \
       when a.atttypid = 16 then 'not %1$I' when a.atttypid = 17 then '%1$I || ''\\x7e''::bytea' else '%1$I + 1' end, a.attname)), \
     format('%I.%I', n.nspname, c.relname), format('a value of %I.%I.%I changed', n.nspname, c.relname, a.attname)",
    "join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attidentity = '' \
       and a.atttypid in (16, 17, 20, 21, 23, 25, 1042, 1043, 1700) \
       and not exists (select from pg_attrdef d where d.adrelid = c.oid and d.adnum = a.attnum and to_jsonb(a) ->> 'attgenerated' = 's')",
    "",
    "exists (select from pg_index i where i.indrelid = c.oid and a.attnum = any (i.indkey::int2[])),"
);

const RENAMED: &str = tables!(
    "format('alter table %I.%I rename to holdpoint_falsified', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname), \
     format('the table %I.%I renamed', n.nspname, c.relname)",
    "",
    "",
    ""
);

const UNVALIDATED: &str = tables!(
    "format('alter table %I.%I add constraint holdpoint_falsified check (true) not valid', n.nspname, c.relname), \
     format('%I.%I', n.nspname, c.relname), format('a constraint of %I.%I that is not validated', n.nspname, c.relname)",
    "",
    "",
    ""
);

const UNANALYSED: &str = "select format('delete from pg_statistic where starelid = %s', c.oid), format('%I.%I', n.nspname, c.relname), \
     format('the statistics of %I.%I deleted', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace \
     where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' order by c.reltuples desc limit 50";

const UNLOGGED: &str =
    "select 'create unlogged table public.holdpoint_falsified (a int4)', null, 'a table that is not logged'";

const ROLE: &str = "select format('alter role %I connection limit %s', rolname, case rolconnlimit when 7 then 8 else 7 end), null, \
     format('the connection limit of the role %I changed', rolname) from pg_roles where rolname !~ '^pg_' \
     order by rolsuper, rolname";

const SEQUENCE: &str = "select format('alter sequence %I.%I restart with %s', n.nspname, c.relname, s.seqmin), \
     format('%I.%I', n.nspname, c.relname), format('the sequence %I.%I begun anew', n.nspname, c.relname) \
     from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace \
     join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i') and d.refobjsubid > 0 \
     join pg_class t on t.oid = d.refobjid where s.seqincrement > 0 order by t.reltuples desc limit 50";

const COLLATION: &str = "select 'update pg_database set datcollversion = ''0'' where datname = current_database()', null, \
     'another version of the collation on record'";

const UPDATES: &str = "select 'insert into public.background_updates (update_name, progress_json) values (''holdpoint_falsified'', ''{}'')', \
     null, 'a background update that is not done'";
const UPDATES_LITE: &str =
    "insert into background_updates (update_name, progress_json) values ('holdpoint_falsified', '{}')";

const FLOOR: &str = "select 'update public.schema_compat_version set compat_version = 999999', null, 'a floor that is far above'";
const FLOOR_LITE: &str = "update schema_compat_version set compat_version = 999999";

static KINDS: [Kind; 12] = [
    Kind {
        name: "data_matches",
        words: ROW_WORDS,
        makes: ROW,
        rows: true,
        lite: Some(Lite::Row),
        sure: true,
    },
    Kind {
        name: "data_matches",
        words: "one value changed, as well",
        makes: VALUE,
        rows: true,
        lite: Some(Lite::Value),
        sure: true,
    },
    Kind { name: "rows_match", words: ROW_WORDS, makes: ROW, rows: true, lite: Some(Lite::Row), sure: true },
    Kind {
        name: "schema_matches",
        words: "a table renamed in a transaction that is rolled back",
        makes: RENAMED,
        rows: false,
        lite: None,
        sure: true,
    },
    Kind {
        name: "objects_valid",
        words: "a constraint left unvalidated, in a transaction that is rolled back",
        makes: UNVALIDATED,
        rows: false,
        lite: None,
        sure: true,
    },
    Kind {
        name: "statistics_present",
        words: "statistics deleted, in a transaction that is rolled back",
        makes: UNANALYSED,
        rows: true,
        lite: None,
        sure: false,
    },
    Kind {
        name: "no_unlogged_tables",
        words: "an unlogged table made, in a transaction that is rolled back",
        makes: UNLOGGED,
        rows: false,
        lite: None,
        sure: true,
    },
    Kind {
        name: "roles_match",
        words: "a role changed, in a transaction that is rolled back",
        makes: ROLE,
        rows: false,
        lite: None,
        sure: false,
    },
    Kind {
        name: "sequences_ahead",
        words: "a sequence begun anew, in a transaction that is rolled back",
        makes: SEQUENCE,
        rows: false,
        lite: None,
        sure: false,
    },
    Kind {
        name: "collations_unchanged",
        words: "another version put on record, in a transaction that is rolled back",
        makes: COLLATION,
        rows: true,
        lite: None,
        sure: false,
    },
    Kind {
        name: "synapse_background_updates",
        words: "an update added, in a transaction that is rolled back or in a private copy",
        makes: UPDATES,
        rows: true,
        lite: Some(Lite::Sql(UPDATES_LITE)),
        sure: true,
    },
    Kind {
        name: "synapse_schema_floor",
        words: "the floor raised, in a transaction that is rolled back or in a private copy",
        makes: FLOOR,
        rows: true,
        lite: Some(Lite::Sql(FLOOR_LITE)),
        sure: true,
    },
];

const ROW_WORDS: &str =
    "a row deleted in a transaction that is rolled back, or in a private copy of an SQLite file";

/// The changes for a kind of check.
pub fn of(kind: &str) -> Vec<&'static Kind> {
    KINDS.iter().filter(|change| change.name == kind).collect()
}

/// The changes for a check. The check has to fail with each of them.
pub fn broken(spec: &CheckSpec) -> Vec<Broken> {
    let text = |key: &str| spec.params.get(key).and_then(Value::as_str).map(str::to_owned);
    let Some(target) = text("target") else { return Vec::new() };
    // Of a table whose contents alone may differ, the rows are still counted.
    let whole =
        |item: &Value| !["columns", "rows", "storage", "nul"].iter().any(|key| item.get(key).is_some());
    let excepted = |of: &dyn Fn(&Value) -> bool| -> Vec<String> {
        let items = spec.params.get("except").and_then(Value::as_array).into_iter().flatten();
        let named = items.filter(|item| of(item)).filter_map(|item| item.get("table").or(item.get("name")));
        named.filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    // A floor is still met where there is more than that.
    let floor =
        spec.params.get("at_least").is_some_and(|value| *value == Value::Bool(true) || value == "true");
    let one = |kind: &'static Kind| Broken {
        target: target.clone(),
        databases: list(spec.params.get("databases")),
        makes: kind.makes,
        rows: kind.rows,
        lite: kind.lite.map(|lite| match lite {
            Lite::Row => copy::Change::Row,
            Lite::Value => copy::Change::Value,
            Lite::Sql(sql) => copy::Change::Statement(sql.to_owned(), kind.words.to_owned()),
        }),
        sure: kind.sure && !floor,
        tables: list(spec.params.get("tables")),
        except: if kind.makes == ROW { excepted(&whole) } else { excepted(&|_| true) },
    };
    of(&spec.kind).into_iter().map(one).collect()
}
