-- A column of every kind of type, one row with values and one of NULLs, and a table of its own for each column.
create type mood as enum('a'); create type place as (x int); 
create domain de as mood; create domain dc as place; create domain da as int[]; create domain dr as int4range; create domain dd as de; create domain dnum as numeric(5,2);create domain dbin as bytea; create domain ddate as date; create domain dvc as varchar(10); create domain dbool as bool; create domain dbp as char(3);
create extension if not exists citext; create extension if not exists hstore; create domain dci as citext;
create table types (a de, b dc, c da, d dr, e dd, f dnum, g dbin, h ddate, i dvc, j dbool, k dbp, l citext, m hstore, n dci, o mood[], p place[], q int4range, r tsvector, s xml, t json, u money, v bit(3), w varbit, x point, y regclass, z int2vector, aa oidvector, ab xid, ac cid, ad tid, ae "char", af name, ag float4, ah macaddr, ai macaddr8, aj timetz, ak de[], "al$s" text, "am$v" int, an oid, ao pg_lsn, ap tsquery, aq path, ar numeric, "as" jsonpath, at txid_snapshot, au bpchar, av char(4), aw int4range[], ax bytea[], ay refcursor);
insert into types default values;
insert into types values ('a', row(1), '{1}', '[1,2)', 'a', 1.5, '\x00', 'infinity', 'x', true, 'a', 'Cc', 'a=>1', 'D', '{a}', array[row(1)::place], '[1,3)', 'a b', '<a/>', '{}', 1.5, b'101', b'1', '(1,2)', 'pg_class', '1 2', '1 2', '5', '6', '(1,2)', 'x', 'n', 1.1, '08:00:2b:01:02:03','08:00:2b:01:02:03:04:05', '12:00+01', '{a}', 't', 1, 7, '0/1', 'a & b', '(1,1),(2,2)', 'NaN', '$.a', '1:1:', 'x  ', 'y', '{"[1,2)"}', '{"\\x00"}', 'rc');
do $$ declare c record; begin
    for c in select attname from pg_attribute where attrelid = 'types'::regclass and attnum > 0 loop
        execute format('create table %I as select %I from types', 'only ' || c.attname, c.attname);
    end loop;
end $$;
