//! What the catalogues say about roles and rights, as plain facts: an object, and what is true of it. Both sides are asked
//! with the same words, so that equal rights give equal facts in every version.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::Pair;
use crate::check::door::silent;
use crate::check::upgrade::survey::cell;
use crate::world::pg::Session;

/// What is true of each object. An object without facts is there all the same.
pub type Facts = BTreeMap<String, BTreeSet<String>>;

/// Between a fact that may be shown and what only tells it from others.
pub const HIDDEN: char = '\u{1}';

/// Reads `object, fact` rows; no fact, only that the object is there.
pub async fn read(session: &Session, sql: &str) -> Result<Facts, String> {
    let rows = session.query(sql).await.map_err(|error| format!("{} ({})", error.message, silent(&error)))?;
    let mut facts = Facts::new();
    for row in rows {
        let of = facts.entry(cell(&row, 0).to_owned()).or_default();
        if let Some(fact) = row.get(1).and_then(Option::as_deref) {
            of.insert(fact.to_owned());
        }
    }
    Ok(facts)
}

/// Adds facts to those of objects that are there.
pub fn merge(facts: &mut Facts, more: Facts) {
    for (object, new) in more {
        if let Some(old) = facts.get_mut(&object) {
            old.extend(new);
        }
    }
}

/// Who has a password. The values are not read.
pub const PASSWORDS: &str = "select 'role ' || rolname, 'a password' from pg_authid where rolpassword is not null and rolname !~ '^pg_'";

/// The owner of an object and the grants on it: `object` and `acl` are SQL, `kind` is the letter of `acldefault`.
fn rights(pair: Pair, object: &str, kind: &str, (acl, owner): (&str, &str), from: &str) -> String {
    let maintain = if pair.maintain { "" } else { " and a.privilege_type <> 'MAINTAIN'" };
    format!(
        "select {object}, 'owner ' || pg_get_userbyid({owner}) {from} \
         union all select {object}, {GRANT} {from} \
         cross join lateral aclexplode(coalesce({acl}, acldefault('{kind}', {owner}))) a where a.grantee <> {owner}{maintain}",
        from = from.trim_end()
    )
}

const GRANT: &str = "case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee)::text end || ': ' || lower(a.privilege_type) \
    || case when a.is_grantable then ' with grant option' else '' end";

/// Roles, memberships, settings, databases, tablespaces, parameters.
pub fn global(pair: Pair, version: u32) -> String {
    let attributes = "select 'role ' || r.rolname, f from pg_roles r cross join lateral (values (null), \
        (case when r.rolsuper then 'superuser' end), (case when r.rolcreaterole then 'createrole' end), \
        (case when r.rolcreatedb then 'createdb' end), (case when r.rolcanlogin then 'login' end), \
        (case when r.rolreplication then 'replication' end), (case when r.rolbypassrls then 'bypassrls' end), \
        (case when not r.rolinherit then 'noinherit' end), \
        (case when r.rolconnlimit >= 0 then 'at most ' || r.rolconnlimit || ' connections' end), \
        (case when r.rolvaliduntil <> 'infinity' then 'valid until ' || r.rolvaliduntil::text end)) v(f) \
        where r.rolname !~ '^pg_'";
    let options = match pair.options {
        true => {
            " || case when to_jsonb(m) ->> 'inherit_option' = 'false' then ' without inherit' else '' end \
             || case when to_jsonb(m) ->> 'set_option' = 'false' then ' without set' else '' end"
        }
        false => "",
    };
    let members = format!(
        "select 'role ' || u.rolname, 'member of ' || g.rolname || case when m.admin_option then ' with admin option' else '' end{options} \
         from pg_auth_members m join pg_roles g on g.oid = m.roleid join pg_roles u on u.oid = m.member where u.rolname !~ '^pg_'"
    );
    let settings = "select case when s.setrole = 0 then 'settings of database ' || d.datname \
        when s.setdatabase = 0 then 'settings of role ' || pg_get_userbyid(s.setrole) \
        else 'settings of role ' || pg_get_userbyid(s.setrole) || ' in database ' || d.datname end, \
        case when split_part(c, '=', 1) like '%.%' then split_part(c, '=', 1) || E'\\x01' || md5(c) else c end \
        from pg_db_role_setting s left join pg_database d on d.oid = s.setdatabase, unnest(s.setconfig) c \
        where (s.setrole <> 0 or s.setdatabase <> 0) and c not like 'default\\_transaction\\_read\\_only=%'";
    let limits = "select 'database ' || datname, case when datconnlimit >= 0 then 'at most ' || datconnlimit || ' connections' end \
        from pg_database where datname <> 'template0'";
    let mut parts = vec![
        attributes.to_owned(),
        members,
        settings.to_owned(),
        limits.to_owned(),
        rights(
            pair,
            "'database ' || d.datname",
            "d",
            ("d.datacl", "d.datdba"),
            "from (select * from pg_database where datname <> 'template0') d",
        ),
        rights(
            pair,
            "'tablespace ' || t.spcname",
            "t",
            ("t.spcacl", "t.spcowner"),
            "from (select * from pg_tablespace where spcname !~ '^pg_') t",
        ),
    ];
    if pair.parameters && version >= 150_000 {
        parts.push(format!("select 'parameter ' || p.parname, {GRANT} from pg_parameter_acl p, aclexplode(p.paracl) a where a.grantee <> 10"));
    }
    parts.join(" union all ")
}

/// Owners and grants in one database. Members of extensions come with CREATE EXTENSION: of those, and of the system's own objects,
/// only what ordinary roles were granted counts.
pub fn local(pair: Pair) -> String {
    let own = |catalogue: &str, oid: &str| {
        format!(
            "{oid} >= 16384 and not exists (select from pg_depend e where e.classid = '{catalogue}'::regclass and e.objid = {oid} and e.deptype = 'e')"
        )
    };
    let name = "current_database() || '.' ||";
    let relation = format!(
        "case c.relkind when 'S' then 'sequence ' when 'v' then 'view ' when 'm' then 'materialized view ' when 'f' then 'foreign table ' \
         else 'table ' end || {name} format('%I.%I', n.nspname, c.relname)"
    );
    let relations = |kinds: &str| {
        format!(
            "from (select * from pg_class where {} and relpersistence <> 't' and relkind in ({kinds})) c \
             join pg_namespace n on n.oid = c.relnamespace and n.nspname !~ '^pg_(toast|temp)'",
            own("pg_class", "oid")
        )
    };
    let function = format!(
        "'function ' || {name} format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes))"
    );
    let ordinary = "a.grantee <> 0 and pg_get_userbyid(a.grantee)::text !~ '^pg_'";
    let schemas = format!(
        "from (select *, case when nspname = 'public' and {} then null else nspowner end as shown from pg_namespace \
         where nspname = 'public' or {} and nspname !~ '^pg_') n",
        pair.public_owner_moved,
        own("pg_namespace", "oid")
    );
    let maintain = if pair.maintain { "" } else { " and a.privilege_type <> 'MAINTAIN'" };
    let mut parts = vec![
        rights(pair, &relation, "r", ("c.relacl", "c.relowner"), &relations("'r','p','v','m','f'")),
        rights(pair, &relation, "s", ("c.relacl", "c.relowner"), &relations("'S'")),
        rights(
            pair,
            &function,
            "f",
            ("p.proacl", "p.proowner"),
            &format!(
                "from (select * from pg_proc where {}) p join pg_namespace n on n.oid = p.pronamespace and n.nspname !~ '^pg_(toast|temp)'",
                own("pg_proc", "oid")
            ),
        ),
        rights(
            pair,
            &format!("'type ' || {name} format('%I.%I', n.nspname, t.typname)"),
            "T",
            ("t.typacl", "t.typowner"),
            &format!(
                "from (select t.* from pg_type t left join pg_class c on c.oid = t.typrelid where {} and t.typtype in ('e','d','r','b','c') \
                 and (c.oid is null or c.relkind = 'c') and not (t.typcategory = 'A' and t.typelem <> 0)) t \
                 join pg_namespace n on n.oid = t.typnamespace and n.nspname !~ '^pg_(toast|temp)'",
                own("pg_type", "t.oid")
            ),
        ),
        rights(
            pair,
            &format!("'language ' || {name} quote_ident(l.lanname)"),
            "l",
            ("l.lanacl", "l.lanowner"),
            &format!("from (select * from pg_language where {}) l", own("pg_language", "oid")),
        ),
        rights(
            pair,
            &format!("'foreign-data wrapper ' || {name} quote_ident(w.fdwname)"),
            "F",
            ("w.fdwacl", "w.fdwowner"),
            &format!(
                "from (select * from pg_foreign_data_wrapper where {}) w",
                own("pg_foreign_data_wrapper", "oid")
            ),
        ),
        rights(
            pair,
            &format!("'foreign server ' || {name} quote_ident(s.srvname)"),
            "S",
            ("s.srvacl", "s.srvowner"),
            &format!("from (select * from pg_foreign_server where {}) s", own("pg_foreign_server", "oid")),
        ),
        format!(
            "select 'column ' || {name} format('%I.%I.%I', n.nspname, c.relname, t.attname), {GRANT} {} \
             join pg_attribute t on t.attrelid = c.oid and t.attacl is not null and not t.attisdropped, aclexplode(t.attacl) a",
            relations("'r','p','v','m','f'")
        ),
        format!(
            "select 'default privileges of ' || pg_get_userbyid(d.defaclrole) || ' for ' || case d.defaclobjtype when 'r' then 'tables' \
             when 'S' then 'sequences' when 'f' then 'functions' when 'T' then 'types' when 'n' then 'schemas' else 'large objects' end \
             || ' in ' || current_database() || coalesce('.' || quote_ident(n.nspname), ''), {GRANT} \
             from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace, aclexplode(d.defaclacl) a \
             where a.grantee <> d.defaclrole{maintain}"
        ),
        // What ordinary roles may do with objects that they did not make.
        format!(
            "select {relation}, {GRANT} from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a \
             where not ({}) and a.grantee <> c.relowner and {ordinary}{maintain}",
            own("pg_class", "c.oid")
        ),
        format!(
            "select {function}, {GRANT} from pg_proc p join pg_namespace n on n.oid = p.pronamespace, aclexplode(p.proacl) a \
             where not ({}) and a.grantee <> p.proowner and {ordinary}",
            own("pg_proc", "p.oid")
        ),
    ];
    let schema = format!("'schema ' || {name} quote_ident(n.nspname)");
    parts.push(format!(
        "select {schema}, 'owner ' || pg_get_userbyid(n.shown) {schemas} union all select {schema}, {GRANT} {schemas}, \
         aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a where a.grantee <> n.nspowner"
    ));
    parts.join(" union all ")
}
