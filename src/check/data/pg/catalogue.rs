//! The catalogue queries. They work on every major version from 13 to 18 and word facts so that versions agree: no
//! counts over system schemas, no `text || "char"`, no names that depend on `search_path`.

/// Not a member of an extension: those come with CREATE EXTENSION.
macro_rules! own {
    ($catalogue:literal, $oid:literal) => {
        concat!(
            " not exists (select from pg_depend e where e.classid = '",
            $catalogue,
            "'::regclass and e.objid = ",
            $oid,
            " and e.deptype = 'e')"
        )
    };
}

/// Databases: name, may be entered, is a template, we have the right, size in bytes.
pub const DATABASES: &str = "select datname, datallowconn, datistemplate, has_database_privilege(oid, 'connect'), \
    case when has_database_privilege(oid, 'connect') then pg_database_size(oid) end \
    from pg_database where datname <> 'template0' order by datname";

/// Whether the database holds anything that a user made.
pub const HOLDS_ANYTHING: &str = concat!(
    "select exists (select from pg_class where oid >= 16384 and relpersistence <> 't' and relkind in ('r','p','v','m','f','S') and",
    own!("pg_class", "pg_class.oid"),
    ") or exists (select from pg_proc where oid >= 16384 and",
    own!("pg_proc", "pg_proc.oid"),
    ") or exists (select from pg_largeobject_metadata)"
);

/// Facts of the database: name and value.
pub const FACTS: &str = "select k, v from pg_database d, lateral (values \
    ('encoding', pg_encoding_to_char(d.encoding)::text), \
    ('collation', replace(lower(d.datcollate), 'utf-8', 'utf8')), \
    ('character type', replace(lower(d.datctype), 'utf-8', 'utf8')), \
    ('settings', (select string_agg(c, ', ' order by c) from pg_db_role_setting s, unnest(s.setconfig) c \
        where s.setdatabase = d.oid and s.setrole = 0 and c not like 'default\\_transaction\\_read\\_only=%'))) x(k, v) \
    where d.datname = current_database() and v is not null";

/// Relations: oid, name, kind, persistence, populated, bytes, owner, row security, parents, partition key, grants,
/// bound, text of a view, the condition for an extension's configuration table, about how many rows.
pub const RELATIONS: &str = "select c.oid, format('%I.%I', n.nspname, c.relname), c.relkind::text, c.relpersistence::text, \
    c.relispopulated, case when c.relkind in ('r','m') then pg_table_size(c.oid) else 0 end, \
    pg_get_userbyid(c.relowner), \
    case when c.relforcerowsecurity then 'forced' when c.relrowsecurity then 'on' end, \
    (select string_agg(i.inhparent::regclass::text, ', ' order by i.inhseqno) from pg_inherits i where i.inhrelid = c.oid), \
    case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end, \
    (select string_agg(who || ' ' || privilege, ', ' order by who, privilege) from (select distinct \
        case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee)::text end as who, lower(a.privilege_type) as privilege \
        from aclexplode(c.relacl) a where a.grantee <> c.relowner and a.privilege_type <> 'MAINTAIN') g), \
    pg_get_expr(c.relpartbound, c.oid), \
    case when c.relkind in ('v','m') then pg_get_viewdef(c.oid) end, \
    x.condition, c.reltuples \
    from pg_class c join pg_namespace n on n.oid = c.relnamespace \
    left join lateral (select true as member, (select e.extcondition[p] from generate_subscripts(e.extconfig, 1) p \
        where e.extconfig[p] = c.oid) as condition, c.oid = any(e.extconfig) as config \
        from pg_depend d join pg_extension e on e.oid = d.refobjid \
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e' limit 1) x on true \
    where c.oid >= 16384 and c.relkind in ('r','p','v','m','f') and c.relpersistence <> 't' \
    and n.nspname !~ '^pg_(toast|temp)' and (x.member is null or x.config) order by 2";

/// Columns of those: relation's oid, name, type, not null, generated, identity, default or not, expression,
/// collation, oid of the type.
pub const COLUMNS: &str = "select a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, \
    a.attgenerated::text, a.attidentity::text, a.atthasdef, pg_get_expr(d.adbin, d.adrelid), \
    case when a.attcollation <> t.typcollation then a.attcollation::regcollation::text end, a.atttypid \
    from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_type t on t.oid = a.atttypid \
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum \
    where a.attrelid >= 16384 and a.attnum > 0 and not a.attisdropped and c.relkind in ('r','p','v','m','f')";

/// Types: oid, builtin name, kind, is an array, base type of a domain, name for a cast. (`format_type` would give
/// `bit` and `character`, which mean a length of one.)
pub const TYPES: &str = "select oid, case when typnamespace = 'pg_catalog'::regnamespace then typname end, typtype::text, \
    typcategory = 'A' and typelem <> 0, typbasetype, \
    format('%s.%I', typnamespace::regnamespace, typname) from pg_type";

/// Keys, best first: relation's oid and the names of the columns as JSON.
pub const KEYS: &str = "select i.indrelid, (select json_agg(a.attname order by k.place) \
        from unnest(i.indkey) with ordinality k(attnum, place) \
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum where k.place <= i.indnkeyatts) \
    from pg_index i where i.indrelid >= 16384 and i.indisunique and i.indisvalid and i.indimmediate \
    and i.indpred is null and i.indexprs is null and not exists (select from unnest(i.indkey) with ordinality k(attnum, place) \
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum \
        where k.place <= i.indnkeyatts and not a.attnotnull) \
    order by i.indisprimary desc, i.indnkeyatts, i.indexrelid";

/// Sequences: name, step, cycles.
pub const SEQUENCES: &str = concat!(
    "select format('%I.%I', n.nspname, c.relname), s.seqincrement, s.seqcycle from pg_sequence s \
    join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace \
    where c.oid >= 16384 and c.relpersistence <> 't' and",
    own!("pg_class", "c.oid"),
    " order by 1"
);

/// Large objects: how many there are. Their bytes need rights of their own.
pub const LARGE_OBJECTS: &str = "select count(*) from pg_largeobject_metadata";

/// Bytes and digest of the large objects.
pub const LARGE_OBJECT_BYTES: &str = "select coalesce(sum(octet_length(data)), 0), coalesce(sum(\
    hash_array_extended(array[data], hashint4extended(pageno, hashoidextended(loid, 11)))), 0) from pg_largeobject";

/// Everything else that has a name: kind, name, table, core, definition, version, sound.
pub const OBJECTS: &[&str] = &[
    // Indexes. Expressions and predicates are worded by the server.
    concat!(
        "select 'index', format('%I.%I', n.nspname, c.relname), format('%I.%I', tn.nspname, t.relname), \
        case when i.indexprs is null and i.indpred is null then pg_get_indexdef(c.oid) \
            else format('%s%s, %s columns%s', case when i.indisunique then 'unique ' else '' end, m.amname, i.indnkeyatts, \
                case when i.indpred is null then '' else ', partial' end) end, \
        case when i.indexprs is null and i.indpred is null then null else pg_get_indexdef(c.oid) end, null, \
        i.indisvalid and i.indisready and i.indislive \
        from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace \
        join pg_class t on t.oid = i.indrelid join pg_namespace tn on tn.oid = t.relnamespace join pg_am m on m.oid = c.relam \
        where c.oid >= 16384 and t.relkind in ('r','p','m') and t.relpersistence <> 't' and n.nspname !~ '^pg_' and",
        own!("pg_class", "t.oid")
    ),
    // Constraints of tables and domains. NOT NULL is a fact of the column (18 has rows for it, 13 has not). A foreign
    // key whose triggers are disabled is not enforced.
    concat!(
        "select 'constraint', case when t.oid is null then format('%I.%I on type %s', n.nspname, k.conname, format_type(k.contypid, null)) \
            else format('%I on %I.%I', k.conname, n.nspname, t.relname) end, \
        case when t.oid is not null then format('%I.%I', n.nspname, t.relname) end, \
        case when k.contype in ('c','x') then case k.contype when 'c' then 'check' else 'exclude' end \
            else regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '') end, \
        case when k.contype in ('c','x') then regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '') end, null, \
        k.convalidated and not exists (select from pg_trigger g where g.tgconstraint = k.oid and g.tgenabled = 'D') \
        from pg_constraint k left join pg_class t on t.oid = k.conrelid and k.conrelid <> 0 \
        join pg_namespace n on n.oid = coalesce(t.relnamespace, k.connamespace) \
        where k.oid >= 16384 and k.contype in ('c','f','p','u','x') and k.conparentid = 0 \
        and (t.oid is null or t.relpersistence <> 't') and n.nspname !~ '^pg_' and",
        own!("pg_class", "k.conrelid"),
        " and",
        own!("pg_type", "k.contypid")
    ),
    // Triggers of people; the clones on partitions come with their parents.
    concat!(
        "select 'trigger', format('%I on %I.%I', g.tgname, n.nspname, c.relname), format('%I.%I', n.nspname, c.relname), \
        format('%s, type %s, fires %s', g.tgfoid::regprocedure, g.tgtype, case g.tgenabled when 'R' then 'on replicas' \
            when 'A' then 'always' else 'normally' end), pg_get_triggerdef(g.oid), null, g.tgenabled <> 'D' \
        from pg_trigger g join pg_class c on c.oid = g.tgrelid join pg_namespace n on n.oid = c.relnamespace \
        where g.oid >= 16384 and not g.tgisinternal and c.relpersistence <> 't' and (c.relkind <> 'r' or not c.relispartition \
        or not exists (select from pg_inherits h join pg_trigger p on p.tgrelid = h.inhparent and p.tgname = g.tgname \
            where h.inhrelid = c.oid)) and",
        own!("pg_class", "c.oid"),
        " and",
        own!("pg_trigger", "g.oid")
    ),
    concat!(
        "select case p.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end, \
        format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)), null, \
        concat_ws(', ', 'returns ' || format_type(p.prorettype, null), l.lanname, case p.provolatile when 'i' then 'immutable' \
            when 's' then 'stable' else 'volatile' end, case when p.proisstrict then 'strict' end, \
            case when p.prosecdef then 'security definer' end, array_to_string(p.proconfig, ', '), 'body ' || md5(p.prosrc)), \
        case when p.prokind in ('f','p') then md5(pg_get_functiondef(p.oid)) end, null, true \
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang \
        where p.oid >= 16384 and n.nspname !~ '^pg_' and not exists (select from pg_depend i where i.classid = 'pg_proc'::regclass \
            and i.objid = p.oid and i.deptype = 'i') and",
        own!("pg_proc", "p.oid")
    ),
    concat!(
        "select 'type', format('%I.%I', n.nspname, t.typname), null, case t.typtype \
            when 'e' then 'enum ' || coalesce((select json_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid)::text, '') \
            when 'd' then 'domain over ' || format_type(t.typbasetype, t.typtypmod) || case when t.typnotnull then ' not null' else '' end \
            when 'c' then 'composite ' || coalesce((select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum) \
                from pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped), '') \
            when 'r' then 'range of ' || (select format_type(r.rngsubtype, null) from pg_range r where r.rngtypid = t.oid) \
            else 'base' end, t.typdefault, null, true \
        from pg_type t join pg_namespace n on n.oid = t.typnamespace left join pg_class c on c.oid = t.typrelid \
        where t.oid >= 16384 and n.nspname !~ '^pg_' and t.typtype in ('e','d','c','r','b') and (c.oid is null or c.relkind = 'c') \
        and not (t.typcategory = 'A' and t.typelem <> 0) and",
        own!("pg_type", "t.oid")
    ),
    "select 'extension', e.extname, null, 'in schema ' || n.nspname, null, e.extversion, true from pg_extension e \
        join pg_namespace n on n.oid = e.extnamespace where e.extname <> 'plpgsql'",
    concat!(
        "select 'schema', n.nspname, null, case when n.nspname = 'public' then '' else 'owner ' || pg_get_userbyid(n.nspowner) end, \
        null, null, true from pg_namespace n where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and",
        own!("pg_namespace", "n.oid")
    ),
    // The long tail: that it is there.
    "select i.type, i.identity, null, '', null, null, true from ( \
        select 'pg_operator'::regclass::oid as classid, oid as objid from pg_operator \
        union all select 'pg_opclass'::regclass, oid from pg_opclass union all select 'pg_opfamily'::regclass, oid from pg_opfamily \
        union all select 'pg_cast'::regclass, oid from pg_cast union all select 'pg_conversion'::regclass, oid from pg_conversion \
        union all select 'pg_collation'::regclass, oid from pg_collation union all select 'pg_language'::regclass, oid from pg_language \
        union all select 'pg_ts_config'::regclass, oid from pg_ts_config union all select 'pg_ts_dict'::regclass, oid from pg_ts_dict \
        union all select 'pg_ts_parser'::regclass, oid from pg_ts_parser union all select 'pg_ts_template'::regclass, oid from pg_ts_template \
        union all select 'pg_foreign_data_wrapper'::regclass, oid from pg_foreign_data_wrapper \
        union all select 'pg_foreign_server'::regclass, oid from pg_foreign_server \
        union all select 'pg_event_trigger'::regclass, oid from pg_event_trigger \
        union all select 'pg_publication'::regclass, oid from pg_publication union all select 'pg_am'::regclass, oid from pg_am \
        union all select 'pg_transform'::regclass, oid from pg_transform \
        union all select 'pg_statistic_ext'::regclass, oid from pg_statistic_ext \
        union all select 'pg_policy'::regclass, oid from pg_policy \
        union all select 'pg_rewrite'::regclass, oid from pg_rewrite where rulename <> '_RETURN') o, \
        lateral pg_identify_object(o.classid, o.objid, 0) i \
        where o.objid >= 16384 and not exists (select from pg_depend e where e.classid = o.classid and e.objid = o.objid and e.deptype in ('e','i'))",
];

/// Roles that people made, and the first superuser: name, attributes, roles it is a member of as JSON.
pub const ROLES: &str = "select r.rolname, concat_ws(', ', case when r.rolbypassrls then 'bypassrls' end, \
    case when r.rolconnlimit >= 0 then 'at most ' || r.rolconnlimit || ' connections' end, \
    case when r.rolcreatedb then 'createdb' end, case when r.rolcreaterole then 'createrole' end, \
    case when r.rolcanlogin then 'login' end, case when not r.rolinherit then 'noinherit' end, \
    case when r.rolreplication then 'replication' end, case when r.rolsuper then 'superuser' end), \
    (select json_agg(distinct g.rolname) from pg_auth_members m join pg_roles g on g.oid = m.roleid where m.member = r.oid) \
    from pg_roles r where r.rolname !~ '^pg_' order by 1";

/// Roles that have a password; only superusers may know.
pub const PASSWORDS: &str = "select rolname from pg_authid where rolpassword is not null";

/// Which transactions have ended: when it changes, somebody wrote, also when they began before it was taken.
pub const WRITES: &str =
    "select case when pg_is_in_recovery() then null else txid_current_snapshot()::text end";
