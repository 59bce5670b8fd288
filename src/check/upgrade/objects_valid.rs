//! Does everything that is there also work? Indexes, constraints, triggers and materialized views that exist and do
//! nothing.

use async_trait::async_trait;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::survey::{Cluster, Findings, Words, cell};
use crate::base::{Span, text};
use crate::check::door::Door;
use crate::check::registry::CheckKind;
use crate::check::{Check, Context, Outcome};

/// Does everything that is there also work?
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectsValid {
    /// The target.
    #[schemars(extend("format" = "target"))]
    target: String,
    /// Only these databases. All when not given.
    #[serde(default)]
    databases: Vec<String>,
    /// Objects that need not work, each with the reason.
    #[serde(default)]
    except: Vec<Except>,
}

/// An object that need not work.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Except {
    /// Its name as the check shows it, with or without the database: `public.events_idx`, `fk_user on public.events`.
    #[schemars(length(min = 1))]
    object: String,
    /// Why it need not work. Shown with every result.
    #[schemars(length(min = 1))]
    reason: String,
}

/// The catalogue's entry.
pub static KIND: CheckKind = CheckKind {
    name: "objects_valid",
    summary: "no index is invalid, no constraint unvalidated or switched off, no materialized view empty",
    docs: DOCS,
    timeout: Some(Span::secs(120)),
    schema: || schema_for!(ObjectsValid),
    build,
};

const DOCS: &str = r"
Shows that what exists also works, in every database: indexes, constraints and materialized views.

**How it is measured.** The catalogue says of each index whether it is valid, ready and live, of each constraint whether its
rows were validated and whether the triggers behind a foreign key are on, of each materialized view whether it was ever filled.

**Passes** when all of them are. **Fails** when one is not; a database that a `DROP DATABASE` left half dropped fails, too.
**Unknown** when a database cannot be entered, when the only invalid index is being built right now, or when there is
neither an index nor a constraint nor a materialized view.

Told, and no failure: triggers, rules and event triggers that somebody switched off, constraints declared `NOT ENFORCED` (18),
subscriptions that are disabled.

**Traps.** A failed `CREATE INDEX CONCURRENTLY` leaves an invalid index: no query uses it, every write pays for it, and a unique
one is not enforced for old rows. A failed `REINDEX CONCURRENTLY` leaves one whose name ends in `_ccnew` or `_ccold`, sometimes on
a TOAST table. `pg_restore --disable-triggers` that breaks off leaves foreign keys switched off: they are there, valid, and do
nothing. Valid is not undamaged: that is for the corruption checks.

```yaml
postconditions:
  - objects_valid: { target: new }
```
";

/// Kind, name, what is wrong (nothing when it works), whether it is only told, whether it is being built.
const OBJECTS: &str = "select 'index', format('%I.%I', n.nspname, c.relname), case when not i.indislive then 'is being dropped' \
        when not i.indisvalid and c.relkind = 'I' then 'is invalid: a partition lacks its part' \
        when not i.indisvalid and not i.indisready then 'is invalid, and not kept up to date' \
        when not i.indisvalid then 'is invalid' when not i.indisready then 'is not kept up to date' end, false, p.pid is not null \
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace \
    left join pg_stat_progress_create_index p on p.index_relid = i.indexrelid and p.datname = current_database() \
    where c.relpersistence <> 't' and c.oid >= 16384 \
    union all select 'constraint', case when t.oid is null then format('%I on type %s', k.conname, k.contypid::regtype) \
        else format('%I on %I.%I', k.conname, n.nspname, t.relname) end, \
        case when to_jsonb(k) ->> 'conenforced' = 'false' then 'is declared as not enforced' \
            when exists (select from pg_trigger g where g.tgconstraint = k.oid and g.tgisinternal and g.tgenabled = 'D') \
            then 'is switched off: its triggers are disabled' when not k.convalidated then 'was never validated' end, \
        coalesce(to_jsonb(k) ->> 'conenforced' = 'false', false), false \
    from pg_constraint k left join pg_class t on t.oid = k.conrelid and k.conrelid <> 0 left join pg_namespace n on n.oid = t.relnamespace \
    where k.oid >= 16384 and (t.oid is null or t.relpersistence <> 't') \
    union all select 'materialized view', format('%I.%I', n.nspname, c.relname), \
        case when not c.relispopulated then 'was never filled: a query of it is an error' end, false, false \
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'm' \
    union all select 'trigger', format('%I on %I.%I', g.tgname, n.nspname, c.relname), 'is switched off', true, false \
    from pg_trigger g join pg_class c on c.oid = g.tgrelid join pg_namespace n on n.oid = c.relnamespace \
    where not g.tgisinternal and g.tgenabled = 'D' \
    union all select 'rule', format('%I on %I.%I', r.rulename, n.nspname, c.relname), 'is switched off', true, false \
    from pg_rewrite r join pg_class c on c.oid = r.ev_class join pg_namespace n on n.oid = c.relnamespace where r.ev_enabled = 'D' \
    union all select 'event trigger', quote_ident(evtname), 'is switched off', true, false from pg_event_trigger where evtenabled = 'D' \
    union all select 'subscription', quote_ident(subname), 'is disabled', true, false from pg_subscription \
    where subdbid = (select oid from pg_database where datname = current_database()) and not subenabled order by 1, 2";

fn build(params: Map<String, Value>) -> Result<Box<dyn Check>, String> {
    let it: ObjectsValid = serde_json::from_value(Value::Object(params)).map_err(|e| e.to_string())?;
    if let Some(except) = it.except.iter().find(|e| e.reason.trim().is_empty()) {
        return Err(format!("`except` of `{}` needs a reason", except.object));
    }
    Ok(Box::new(it))
}

#[async_trait]
impl Check for ObjectsValid {
    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    async fn measure(&self, cx: &Context) -> Outcome {
        let expected = "every index, constraint and materialized view valid and in use";
        let door = Door::new(KIND.name, &self.target, expected);
        let cluster = match Cluster::open(door, &self.databases, cx).await {
            Ok(cluster) => cluster,
            Err(outcome) => return outcome,
        };
        let mut findings = Findings::default();
        for closed in &cluster.closed {
            let list =
                if closed.contains("is invalid") { &mut findings.failed } else { &mut findings.unasked };
            list.push(closed.clone());
        }
        for database in &cluster.databases {
            if let Err(why) = self.look(&cluster, database, cx, &mut findings).await {
                findings.unasked.push(why);
            }
        }
        let looked = text::count(findings.looked, "object", "objects");
        findings
            .conclude(Words {
                expected,
                passed: format!("{looked} in {}, all valid", text::count(cluster.databases.len() as u64, "database", "databases")),
                nothing: "there is no index, no constraint and no materialized view",
                help: "repair it (REINDEX, VALIDATE CONSTRAINT, ENABLE TRIGGER, REFRESH) or drop it, then measure again",
            })
            .on(&self.target, cluster.identity)
    }
}

impl ObjectsValid {
    async fn look(
        &self,
        cluster: &Cluster<'_>,
        database: &str,
        cx: &Context,
        findings: &mut Findings,
    ) -> Result<(), String> {
        let rows = cluster.rows(database, OBJECTS, cx).await?;
        for row in &rows {
            let (kind, name) = (cell(row, 0), cell(row, 1));
            let told = cell(row, 3) == "t";
            findings.looked += u64::from(!told);
            let Some(wrong) = row.get(2).and_then(Option::as_deref) else { continue };
            let found = format!("{kind} {name} of database {database} {wrong}");
            let full = format!("{database}.{name}");
            let except = self.except.iter().find(|e| e.object == name || e.object == full);
            match except {
                Some(except) => findings.notes.push(format!("excepted ({}): {found}", except.reason)),
                None if told => findings.notes.push(format!("{found} (no failure)")),
                None if cell(row, 4) == "t" => {
                    findings.unasked.push(format!("{found}; it is being built right now"))
                }
                None => findings.failed.push(found),
            }
        }
        Ok(())
    }
}
