-- One table for each fault, so that all faults are found, or missed, in one comparison. ORDER is replaced: the rows of
-- both sides come in another physical order.
create table missing_row (id int primary key, v text not null);
insert into missing_row select g, 'v' || g from generate_series(1, 300) g ORDER;
create table changed_byte (id int primary key, v text, raw bytea);
insert into changed_byte select g, md5(g::text), decode(md5(g::text), 'hex') from generate_series(1, 300) g ORDER;
create table changed_toast (id text primary key, body text not null);
alter table changed_toast alter column body set storage external;
insert into changed_toast select 'm' || g, (select string_agg(md5(g || '/' || i), '' order by i) from generate_series(1, 200) i)
    from (select g from generate_series(1, 20) g ORDER) g;
create table swapped_values (id bigint primary key, v text, n bigint, ok boolean);
insert into swapped_values select g, 'v' || g, g * 10, g % 2 = 0 from generate_series(1, 300) g ORDER;
create table swapped_flags (id bigint primary key, ok boolean, other boolean not null);
insert into swapped_flags select g, case g % 3 when 0 then true when 1 then false end, g % 2 = 0 from generate_series(1, 300) g ORDER;
create table duplicated (room text, n int);
insert into duplicated select 'r' || g, g from generate_series(1, 300) g ORDER;
create table null_for_empty (id int primary key, v text);
insert into null_for_empty select g, case g % 3 when 0 then null when 1 then '' else 'x' end from generate_series(1, 300) g ORDER;
create table last_bit (id int primary key, score double precision);
insert into last_bit select g, g / 3.0::float8 from generate_series(1, 300) g ORDER;
create table numeric_scale (id int primary key, price numeric);
insert into numeric_scale select g, g::numeric / 4 from generate_series(1, 300) g ORDER;
create table microsecond (id int primary key, at timestamptz, day date);
insert into microsecond select g, timestamptz '1999-12-31 23:00+00' + g * interval '1.000001 minute', date '1999-12-01' + g from generate_series(1, 300) g ORDER;
create table infinite_day (id int primary key, day date, at timestamptz);
insert into infinite_day select g, case g % 3 when 0 then 'infinity' when 1 then '-infinity' else '2024-02-29' end::date,
    case g % 2 when 0 then 'infinity' else '-infinity' end::timestamptz from generate_series(1, 300) g ORDER;
create table row_replaced (user_id text, room_id text, primary key (user_id, room_id));
insert into row_replaced select '@u' || g, '!r' || g % 20 from generate_series(1, 300) g ORDER;
create table columns_swapped (id int primary key, joined bigint, left_at bigint);
insert into columns_swapped select g, g, g + 1000 from generate_series(1, 300) g ORDER;
create table upper_half (id bigint primary key, n bigint);
insert into upper_half select g, g from generate_series(1, 300) g ORDER;
create table blanks (id int primary key, code char(8), free bpchar);
insert into blanks select g, 'c' || g, 'f' || g || repeat(' ', g % 3) from generate_series(1, 300) g ORDER;
create table missing_table (id int primary key);
insert into missing_table select generate_series(1, 10);
create sequence sequence_behind; select setval('sequence_behind', 500);
create sequence sequence_missing;
create table index_missing (id int primary key, v text);
insert into index_missing select g, 'v' || g from generate_series(1, 10) g;
create index index_missing_v on index_missing (v);
create table index_invalid (id int primary key, v text);
insert into index_invalid select g, 'v' || g from generate_series(1, 10) g;
create index index_invalid_v on index_invalid (v);
create table narrowed (id int primary key, n bigint);
insert into narrowed select g, g from generate_series(1, 10) g;
create table intact (id bigint generated always as identity primary key, v text, at timestamptz default now(), js jsonb);
insert into intact (v, at, js) select 'v' || g, timestamptz '2024-01-01' + g * interval '1 s', jsonb_build_object('n', g) from (select g from generate_series(1, 300) g) g;
