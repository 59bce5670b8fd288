create table schema_version (lock char(1) default 'X' not null unique, version integer not null, upgraded boolean not null);
create table applied_schema_deltas (version integer not null, file text not null, unique (version, file));
create sequence events_stream_seq;
create sequence events_backfill_stream_seq;
create sequence user_id_seq;
create table events (stream_ordering bigint not null, topological_ordering bigint not null, event_id text not null unique, type text not null,
    room_id text not null, content text, processed boolean not null, outlier boolean not null, depth bigint default 0 not null,
    origin_server_ts bigint, sender text, contains_url boolean);
create unique index events_stream_ordering on events (stream_ordering);
create table event_json (event_id text not null unique, room_id text not null, internal_metadata text not null, json text not null, format_version integer);
create table server_keys_json (server_name text not null, key_id text not null, ts_added_ms bigint not null, key_json bytea not null, unique (server_name, key_id));
create table receipts (room_id text, user_id text, data text, stream_id bigint);
create table room_stats (room_id text primary key, weight double precision, quality real, score numeric);
create table users (id bigserial primary key, name text not null unique, is_guest smallint default 0 not null, pinned boolean);
create table devices (user_id text not null, device_id text not null, display_name text, last_seen bigint, hidden boolean default false,
    primary key (user_id, device_id));
create table event_search (event_id text, room_id text, sender text, key text, vector tsvector, origin_server_ts bigint, stream_ordering bigint);
create table stream_positions (stream_name text, instance_name text, stream_id bigint);
create table port_from_sqlite3 (table_name varchar(100) not null unique, forward_rowid bigint not null, backward_rowid bigint not null);
create view recent as select event_id from events where stream_ordering > 1000;
