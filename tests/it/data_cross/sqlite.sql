-- A small Synapse-like database as SQLite has it. Some of its values are odd on purpose.
pragma journal_mode = wal;
create table schema_version (lock char(1) not null default 'X' unique, version integer not null, upgraded bool not null);
insert into schema_version values ('X', 88, 1);
create table applied_schema_deltas (version integer not null, file text not null, unique (version, file));
insert into applied_schema_deltas values (88, '88/01.sql'), (88, '88/02_sqlite_only.sql');
create table events (stream_ordering integer primary key, topological_ordering bigint not null, event_id text not null, type text not null,
    room_id text not null, content text, processed bool not null, outlier bool not null, depth bigint default 0 not null,
    origin_server_ts bigint, sender text, contains_url bool, unique (event_id));
create index events_room on events (room_id, stream_ordering);
with recursive g(n) as (select -20 union all select n + 1 from g where n < 1500)
insert into events select n, n / 7, '$' || n || ':example.org', 'm.room.message', '!' || (n % 30) || ':example.org',
    case n % 5 when 0 then null when 1 then '' else 'text ' || n || ' ☃' end, 1, n % 9 = 0, n, 1700000000000 + n * 37, '@u' || (n % 50),
    case n % 3 when 0 then null else abs(n) % 2 end from g where n <> 0;
create table event_json (event_id text not null unique, room_id text not null, internal_metadata text not null, json text not null, format_version integer);
insert into event_json select event_id, room_id, '{"stream_ordering":' || stream_ordering || '}', '{"content":{"n":' || stream_ordering || ',"b":"é"}}', 3 from events;
create table server_keys_json (server_name text not null, key_id text not null, ts_added_ms bigint not null, key_json bytea not null, unique (server_name, key_id));
with recursive g(n) as (select 1 union all select n + 1 from g where n < 80)
insert into server_keys_json select 's' || n, 'ed25519:a', n, cast('{"k":"' || n || char(0) || '"}' as blob) from g;
-- No key, duplicates, NULL beside ''.
create table receipts (room_id text, user_id text, data text, stream_id bigint);
with recursive g(n) as (select 1 union all select n + 1 from g where n < 400)
insert into receipts select 'r' || (n % 10), 'u' || (n % 4), case n % 3 when 0 then null when 1 then '' else '{}' end, n % 20 from g;
create table room_stats (room_id text primary key, weight real, quality real, score numeric) without rowid;
insert into room_stats values ('a', 0.1, 0.5, 1.50), ('b', 1e22, 0.1, 12), ('c', null, null, null), ('d', -1.5e-7, 3, 0.125),
    ('e', 5, 1e10, 1234567.25), ('f', 9e999, -9e999, -3), ('g', 9007199254740993.0, 0, 0);
create table users (id integer primary key autoincrement, name text not null, is_guest smallint default 0 not null, pinned bool, unique (name));
insert into users (name, is_guest, pinned) select 'user' || stream_ordering, stream_ordering % 2, null from events where stream_ordering between 1 and 40;
delete from users where id > 35;
create table devices (user_id text not null, device_id text not null, display_name text, last_seen bigint, hidden bool default 0,
    primary key (user_id, device_id));
insert into devices select sender, 'D' || stream_ordering, case when stream_ordering % 2 then 'it''s "a" phone \n' end, origin_server_ts, 0 from events where stream_ordering between 1 and 100;
create virtual table event_search using fts4 (event_id, room_id, sender, key, value);
insert into event_search select event_id, room_id, sender, 'content.body', 'words ' || stream_ordering from events where stream_ordering between 1 and 60;
create table stream_positions (stream_name text, instance_name text, stream_id bigint);
