//! A recorded side. It was hashed without knowing the other one: PostgreSQL's in its own types' forms, which an SQLite
//! file can follow; an SQLite file's value by value as stored, which PostgreSQL can follow where types and storage
//! classes agree. Where they do not, its contents cannot be compared, and that is said.

use std::collections::BTreeSet;

use super::count::Count;
use super::form::Form;
use super::plan::{Half, Kind, Plan};
use crate::check::data::manifest::{Cross, Database, Level, Manifest};
use crate::check::data::side::Ask;
use crate::world::Identity;

fn database<'a>(manifest: &'a Manifest, wanted: Option<&String>) -> Result<(&'a str, &'a Database), String> {
    let chosen = match wanted.filter(|_| matches!(manifest.identity, Identity::Postgres(_))) {
        Some(wanted) => manifest.databases.get_key_value(wanted),
        None if manifest.databases.len() == 1 => manifest.databases.first_key_value(),
        None => {
            let names: Vec<&str> = manifest.databases.keys().map(String::as_str).collect();
            return Err(format!(
                "the record has several databases ({}); `databases` must name one",
                names.join(", ")
            ));
        }
    };
    let (name, database) = chosen.ok_or("the record has no such database, which `databases` names")?;
    Ok((name, database))
}

/// Its tables.
pub fn describe(manifest: &Manifest, ask: &Ask, schema: &str) -> Result<Half, String> {
    if ask.level > manifest.level {
        return Err("only the rows were counted in the record, not their contents".to_owned());
    }
    let (name, database) = database(manifest, ask.databases.first())?;
    if ask.level == Level::Contents && database.cross.is_empty() && !database.relations.is_empty() {
        return Err("the record was made where no target of the other engine was known, so that its contents cannot be compared with one; \
            compare with the target itself, or record it again".to_owned());
    }
    let Identity::Postgres(_) = manifest.identity else {
        return Ok(Half::lite(&manifest.target, name, database));
    };
    let mut half = Half::postgres(&manifest.target, name, database, schema);
    for table in half.tables.values_mut() {
        let Some(cross) = database.cross.get(&table.name) else { continue };
        for column in table.columns.values_mut() {
            let word = cross.columns.get(&column.name).and_then(|forms| forms.first());
            column.form = word.and_then(|word| serde_json::from_value(word.as_str().into()).ok());
        }
    }
    Ok(half)
}

/// What the record says of each table that is planned.
pub fn count(manifest: &Manifest, plans: &[Plan], half: &Half) -> Result<Vec<Option<Count>>, String> {
    let database = manifest.databases.get(&half.db).ok_or("the record has no such database")?;
    plans.iter().map(|plan| one(database, plan, half)).collect()
}

fn one(database: &Database, plan: &Plan, half: &Half) -> Result<Option<Count>, String> {
    let name = if half.pg { &plan.pg } else { &plan.lite };
    let Some((name, table)) = name.as_ref().and_then(|name| Some((name, half.of(name)?.1))) else {
        return Ok(None);
    };
    let parts = || {
        database.relations.iter().filter(|(_, r)| {
            r.core.get("parents").is_some_and(|p| p == name || format!("public.{p}") == *name)
        })
    };
    let rows = match plan.partitioned && half.pg {
        true => parts().filter_map(|(_, r)| r.rows).sum(),
        false => match database.relations.get(name).and_then(|relation| relation.rows) {
            Some(rows) => rows,
            None if table.kind == Kind::Virtual => {
                match database.cross.get(name).and_then(|cross| cross.rows) {
                    Some(rows) => rows,
                    None => return Ok(None),
                }
            }
            None => return Err(format!("the rows of {name} were not counted")),
        },
    };
    let mut count = Count { rows, ..Count::default() };
    if plan.nul.is_some() && !half.pg {
        count.open = Some("a record does not say which rows hold a NUL byte".to_owned());
    }
    if let Some(cross) = database.cross.get(name) {
        for (at, fed) in plan.fed.iter().enumerate() {
            if let Some(bounds) = fed.lite.as_ref().and_then(|name| cross.bounds.get(name)) {
                count.bounds.insert(at, *bounds);
            }
        }
    }
    if plan.columns.is_empty() {
        return Ok(Some(count));
    }
    match digest(database.cross.get(name), plan, half) {
        Ok(digest) => count.digest = Some(digest),
        Err(why) => count.open = Some(why),
    }
    Ok(Some(count))
}

/// The recorded digest, when it is of the very columns that are compared, hashed as they are.
fn digest(cross: Option<&Cross>, plan: &Plan, half: &Half) -> Result<i128, String> {
    let cross = cross.ok_or("it was not hashed for the other engine when it was recorded")?;
    let own = |at: usize| if half.pg { &plan.columns[at].pg } else { &plan.columns[at].lite };
    let compared: BTreeSet<&String> = (0..plan.columns.len()).map(own).collect();
    if cross.columns.keys().collect::<BTreeSet<_>>() != compared {
        return Err(
            "the record hashed all of its columns together, and not all of them are compared".to_owned()
        );
    }
    for at in 0..plan.columns.len() {
        let column = &plan.columns[at];
        let classes = cross.columns.get(own(at)).map_or(&[][..], Vec::as_slice);
        let odd = classes.iter().find(|class| !column.form.plain_classes().contains(&class.as_str()));
        if let Some(odd) = odd.filter(|_| !half.pg) {
            let form = column.form;
            return Err(format!(
                "a record cannot show that {odd} in {} is what {} holds; compare with the file itself",
                own(at),
                word(form)
            ));
        }
    }
    let sum = cross.digest.strip_prefix("x1:").and_then(|sum| sum.parse().ok());
    sum.ok_or_else(|| format!("its digest `{}` is none that this program knows", cross.digest))
}

fn word(form: Form) -> String {
    serde_json::to_value(form).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
