//! What a move from SQLite to PostgreSQL can break, and what the evidence must then say.

/// A fault: its name, the SQL that makes it in PostgreSQL, and what the evidence must say.
pub type Fault = (&'static str, &'static str, &'static [&'static str]);

pub const FAULTS: &[Fault] = &[
    (
        "row lost",
        "delete from events where stream_ordering = 77",
        &["1,519 rows in synapse.public.events", "1 row is missing: event_id=$77:example.org"],
    ),
    (
        "byte in text",
        "update events set content = overlay(content placing 'T' from 1) where stream_ordering = 102",
        &["other contents in synapse.public.events", "1 row differs: event_id=$102:example.org"],
    ),
    (
        "byte in blob",
        "update server_keys_json set key_json = set_byte(key_json, 6, 1) where server_name = 's7'",
        &["1 row differs: server_name=s7, key_id=ed25519:a"],
    ),
    (
        "bool flipped",
        "update events set outlier = not outlier where stream_ordering = -3",
        &["1 row differs: event_id=$-3:example.org"],
    ),
    (
        "null for empty",
        "update receipts set data = null where ctid = (select ctid from receipts where data = '' limit 1)",
        &["other contents in synapse.public.receipts", "row is"],
    ),
    (
        "last bit of a float",
        "update room_stats set weight = 0.1::float8 * (1 + 2.3e-16::float8) where room_id = 'a'",
        &["1 row differs: room_id=a"],
    ),
    (
        "sequence behind",
        "select setval('events_stream_seq', 1499)",
        &["sequence synapse.public.events_stream_seq is behind: it gives 1,500 next", "a number past 1,500"],
    ),
    (
        "extra table",
        "create table leftover (id int)",
        &["an extra table synapse.public.leftover with 0 rows"],
    ),
    (
        "swapped values",
        "update events e set content = f.content from events f where (e.stream_ordering, f.stream_ordering) in ((102, 103), (103, 102))",
        &["2 rows differ: event_id=$102:example.org; event_id=$103:example.org"],
    ),
    (
        "swapped columns",
        "alter table devices rename hidden to tmp; alter table devices rename user_id to hidden2; alter table devices rename display_name to user_id; alter table devices rename hidden2 to display_name; alter table devices rename tmp to hidden",
        &["other contents in synapse.public.devices"],
    ),
    ("missing table", "drop table devices", &["no table synapse.public.devices", "a table with 100 rows"]),
    (
        "duplicate row",
        "insert into receipts select * from receipts limit 1",
        &["401 rows in synapse.public.receipts"],
    ),
    (
        "duplicate for a row",
        "delete from receipts where ctid = (select ctid from receipts where room_id = 'r1' limit 1); insert into receipts select * from receipts where room_id = 'r2' limit 1",
        &["other contents in synapse.public.receipts"],
    ),
    (
        "high half of a number",
        "update events set depth = depth + 4294967296 where stream_ordering = 9",
        &["1 row differs: event_id=$9:example.org"],
    ),
    (
        "sign taken for a bit",
        "update events set depth = 4294967291 where stream_ordering = -5",
        &["1 row differs: event_id=$-5:example.org"],
    ),
    ("numeric", "update room_stats set score = 1.51 where room_id = 'a'", &["1 row differs: room_id=a"]),
    (
        "null for false",
        "update events set contains_url = false where stream_ordering = 6",
        &["1 row differs: event_id=$6:example.org"],
    ),
    ("all rows", "truncate event_json", &["0 rows in synapse.public.event_json", "1,520 rows, as in `old`"]),
    (
        "missing column",
        "alter table events drop column sender",
        &["no column sender in synapse.public.events"],
    ),
    (
        "extra column",
        "alter table events add column more int",
        &["an extra column more (integer) in synapse.public.events"],
    ),
    (
        "no key",
        "alter table devices drop constraint devices_pkey",
        &["nothing keeps (user_id, device_id) unique"],
    ),
    (
        "row of a rebuilt table",
        "delete from event_search where stream_ordering = 5",
        &["59 rows in synapse.public.event_search"],
    ),
    (
        "number given and deleted",
        "select setval('users_id_seq', 38)",
        &["users_id_seq is behind: it gives 39 next", "a number past 40"],
    ),
    (
        "counting down",
        "select setval('events_backfill_stream_seq', 20, false)",
        &["events_backfill_stream_seq is behind: it gives 20 next"],
    ),
    (
        "unknown sequence",
        "create sequence stray",
        &["it is not known which columns feed on sequence synapse.public.stray"],
    ),
];
