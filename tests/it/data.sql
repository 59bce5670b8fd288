-- A small Synapse-like database with something of everything. ORDER is replaced: the rows of both sides come in another
-- physical order.
create type mood as enum ('calm', 'busy');
create domain mxid as text check (value like '@%');
create type place as (x int, label text);
create schema "We""ird; Schema";
create sequence events_stream_seq;
create table events (
    stream_ordering bigint primary key default nextval('events_stream_seq'), event_id text not null unique, room_id text not null,
    type varchar(40), content jsonb, depth integer, received_ts timestamptz, origin_ts timestamp, score double precision,
    price numeric, small smallint, body text, raw bytea, tags text[], feel mood, sender mxid, at place, day date,
    u uuid, half real, ok boolean, ip inet, span interval, lsn pg_lsn, code char(8), nums int[], doubled bigint generated always as (stream_ordering * 2) stored
);
insert into events (event_id, room_id, type, content, depth, received_ts, origin_ts, score, price, small, body, raw, tags, feel, sender,
    at, day, u, half, ok, ip, span, lsn, code, nums)
select '$' || g, '!room' || g % 50, case when g % 7 = 0 then null else 'm.room.message' end, jsonb_build_object('n', g, 'body', 'hello ' || g),
    g, timestamptz '2024-01-01 00:00+00' + g * interval '1.000001 seconds', timestamp '2024-01-01' + g * interval '1 hour',
    g / 3.0::float8, g::numeric / 4, g % 100, case when g % 11 = 0 then '' when g % 13 = 0 then null else md5(g::text) end,
    decode(md5(g::text), 'hex'), array['a' || g, 'b'], case g % 2 when 0 then 'calm' else 'busy' end::mood, '@u' || g || ':x', row(g, 'p"' || g)::place,
    date '2000-01-01' + g, md5(g::text)::uuid, g / 7.0::float4, g % 2 = 0, ('10.0.' || g % 256 || '.1/16')::inet, g * interval '1 minute',
    ('0/' || to_hex(g))::pg_lsn, 'c' || g, array[g, g + 1]
from generate_series(1, 3000) g;
create index events_room on events (room_id, stream_ordering);
create index events_expr on events (lower(room_id)) where depth > 10;
-- Values that go to TOAST, and do not compress.
create table media (media_id text primary key, body text not null);
alter table media alter column body set storage external;
insert into media select 'm' || g, (select string_agg(md5(g || '/' || i), '' order by i) from generate_series(1, 400) i)
from (select g from generate_series(1, 40) g ORDER) g;
-- No key, duplicates, NULL beside ''.
create table stats (room text, n int, note text);
insert into stats select 'r' || g % 10, g % 5, case when g % 3 = 0 then null when g % 3 = 1 then '' else 'x' end from (select g from generate_series(1, 600) g ORDER) g;
create table members (user_id text not null, room_id text not null, joined bigint, left_at bigint, primary key (user_id, room_id));
insert into members select '@u' || g, '!r' || g % 20, g, g + 1000 from (select g from generate_series(1, 500) g ORDER) g;
alter table members add constraint members_joined check (joined > 0);
create table parted (id int not null, v text) partition by range (id);
create table parted_1 partition of parted for values from (0) to (500);
create table parted_2 partition of parted for values from (500) to (2000);
create index parted_id on parted (id);
insert into parted select g, 'v' || g from (select g from generate_series(1, 900) g ORDER) g;
create unlogged table presence (user_id text primary key, state text);
insert into presence select '@u' || g, 'online' from generate_series(1, 100) g;
create table "We""ird; Schema"."Ta.ble" ("Se'lect" int primary key, "a b" text not null default 'x');
insert into "We""ird; Schema"."Ta.ble" select g, 'w' || g from (select g from generate_series(1, 50) g ORDER) g;
create table nothing ();
create table emptied (id int references "We""ird; Schema"."Ta.ble");
create view recent as select stream_ordering, room_id from events where depth > 2000;
create materialized view rooms as select room_id, count(*) as n from events group by room_id;
create materialized view later as select 1 as one with no data;
create function shout(t text) returns text language sql immutable as $$ select upper(t) $$;
create function touched() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger members_touched before update on members for each row execute function touched();
select lo_from_bytea(70001, decode(repeat('00ff', 3000), 'hex'));
create role synapse_user login password 'x';
grant select on events to synapse_user;
