//! What an upgrade can break in `data.sql`'s database, and what the evidence must then say.

/// Faults that are made together, one by one where it matters what the headline says.
///
/// A fault: its name, the SQL that makes it, and what the evidence must say.
pub type Fault = (&'static str, &'static str, &'static [&'static str]);

pub const FAULTS: &[&[Fault]] = &[
    &[(
        "missing row",
        "delete from events where stream_ordering = 77",
        &["2,999 rows in synapse.public.events", "1 row is missing: stream_ordering=77"],
    )],
    &[(
        "all rows missing",
        "truncate events",
        &["0 rows in synapse.public.events", "3,000 rows, as in `old`"],
    )],
    // What t2bot.io lived with: rows that an index scan does not see.
    &[(
        "row that an index hides",
        "update pg_index set indisready = false where indexrelid = 'members_pkey'::regclass; \
         insert into members values ('@u1', '!r1', 1, 1001); \
         update pg_index set indisready = true where indexrelid = 'members_pkey'::regclass",
        &["501 rows in synapse.public.members", "1 row is extra: user_id=@u1, room_id=!r1"],
    )],
    &[(
        "changed byte",
        "update events set body = overlay(body placing 'Z' from 5) where stream_ordering = 100",
        &["other contents in synapse.public.events", "stream_ordering=100"],
    )],
    &[(
        "changed toast",
        "update media set body = overlay(body placing 'Z' from 12000) where media_id = 'm7'",
        &["public.media", "media_id=m7"],
    )],
    &[(
        "swapped between rows",
        "update events e set body = f.body from events f where (e.stream_ordering, f.stream_ordering) in ((101, 102), (102, 101))",
        &["2 rows differ: stream_ordering=101; stream_ordering=102"],
    )],
    &[(
        "duplicate without a key",
        "insert into stats (select * from stats limit 1)",
        &["601 rows in synapse.public.stats"],
    )],
    &[(
        "a duplicate instead of a row",
        "delete from stats where ctid = (select ctid from stats where n = 1 limit 1); insert into stats (select * from stats where n = 2 limit 1)",
        &["public.stats", "only in the source"],
    )],
    &[(
        "last bit of a float",
        "update events set score = score * (1 + 2.3e-16::float8) where stream_ordering = 200",
        &["stream_ordering=200"],
    )],
    &[(
        "scale of a numeric",
        "update events set price = 1.0 where stream_ordering = 4",
        &["stream_ordering=4"],
    )],
    &[(
        "a microsecond",
        "update events set received_ts = received_ts + interval '1 microsecond' where stream_ordering = 300",
        &["stream_ordering=300"],
    )],
    &[(
        "row replaced",
        "delete from members where user_id = '@u5'; insert into members values ('@u5', '!other', 5, 1005)",
        &["1 row is missing: user_id=@u5, room_id=!r5", "1 row is extra: user_id=@u5, room_id=!other"],
    )],
    &[(
        "columns swapped",
        "alter table members rename joined to tmp; alter table members rename left_at to joined; alter table members rename tmp to left_at",
        &["other contents in synapse.public.members"],
    )],
    &[("missing table", "drop table members", &["no table synapse.public.members", "a table with 500 rows"])],
    &[("extra table", "create table leftover (id int)", &["an extra table synapse.public.leftover"])],
    &[(
        "sequence behind",
        "select setval('events_stream_seq', 2999)",
        &["sequence synapse.public.events_stream_seq is behind, at 2,999", "3,000 or further"],
    )],
    &[(
        "sequence missing",
        "alter table events alter stream_ordering drop default; drop sequence events_stream_seq",
        &["no sequence synapse.public.events_stream_seq"],
    )],
    &[("index missing", "drop index events_room", &["no index public.events_room"])],
    &[(
        "index invalid",
        "update pg_index set indisvalid = false where indexrelid = 'events_room'::regclass",
        &["index public.events_room", "not valid"],
    )],
    &[(
        "column narrowed",
        "alter table members alter left_at type integer",
        &["column left_at of synapse.public.members: type integer", "type bigint"],
    )],
    &[
        (
            "changed byte in bytea",
            "update events set raw = set_byte(raw, 15, 1) where stream_ordering = 100",
            &["rows differ: stream_ordering=100"],
        ),
        (
            "sign of zero",
            "update events set score = '-0' where stream_ordering = 200; update events set score = 0 where false",
            &["stream_ordering=200"],
        ),
        (
            "sign of a numeric",
            "update events set price = -price where stream_ordering = 9",
            &["stream_ordering=9"],
        ),
        (
            "json number's scale",
            "update events set content = '{\"n\": 5.0, \"body\": \"hello 5\"}' where stream_ordering = 5",
            &["stream_ordering=5"],
        ),
        ("array", "update events set nums = array[[6,7]] where stream_ordering = 6", &["stream_ordering=6"]),
    ],
    &[
        ("enum", "update events set feel = 'busy' where stream_ordering = 8", &["stream_ordering=8"]),
        (
            "interval",
            "update events set span = interval '1 month' - interval '30 days' + span where stream_ordering = 18",
            &["stream_ordering=18"],
        ),
        (
            "null for empty",
            "update events set body = null where stream_ordering = 11",
            &["stream_ordering=11"],
        ),
        (
            "weird name",
            "delete from \"We\"\"ird; Schema\".\"Ta.ble\" where \"Se'lect\" = 3",
            &["49 rows", "Se'lect=3"],
        ),
        ("grant lost", "revoke select on events from synapse_user", &["grants of synapse.public.events"]),
    ],
    &[
        ("composite", "update events set at.label = 'q' where stream_ordering = 28", &["stream_ordering=28"]),
        ("missing empty table", "drop table emptied", &["no table synapse.public.emptied"]),
        (
            "row of a partition",
            "delete from parted where id = 600",
            &["400 rows in synapse.public.parted_2; wanted 401 rows"],
        ),
        ("unlogged emptied", "truncate presence", &["0 rows in synapse.public.presence"]),
        (
            "owner changed",
            "alter table members owner to synapse_user",
            &["owner of synapse.public.members: synapse_user"],
        ),
        ("large object missing", "select lo_unlink(70001)", &["0 large objects"]),
    ],
    &[
        (
            "null for empty without a key",
            "update stats set note = '' where ctid = (select ctid from stats where note is null limit 1)",
            &["public.stats"],
        ),
        (
            "partition detached",
            "alter table parted detach partition parted_2",
            &["parents of synapse.public.parted_2"],
        ),
        (
            "other index",
            "drop index events_room; create index events_room on events (room_id)",
            &["index public.events_room", "is another"],
        ),
        ("column missing", "alter table members drop left_at", &["no column left_at"]),
        (
            "not null lost",
            "alter table events alter room_id drop not null",
            &["column room_id", "may be NULL"],
        ),
        (
            "function changed",
            "create or replace function shout(t text) returns text language sql immutable as $$ select lower(t) $$",
            &["function public.shout(text)", "is another"],
        ),
        ("enum grown", "alter type mood add value 'quiet'", &["type public.mood"]),
    ],
    &[
        ("large object changed", "select lo_put(70001, 101, '\\x77')", &["large object"]),
        ("default lost", "alter table events alter stream_ordering drop default", &["no default"]),
        (
            "constraint missing",
            "alter table members drop constraint members_joined",
            &["no constraint members_joined"],
        ),
        ("primary key missing", "alter table members drop constraint members_pkey", &["members_pkey"]),
        (
            "foreign key not enforced",
            "alter table emptied disable trigger all",
            &["constraint emptied_id_fkey"],
        ),
        (
            "trigger disabled",
            "alter table members disable trigger members_touched",
            &["trigger members_touched"],
        ),
        ("view missing", "drop view recent", &["no view synapse.public.recent"]),
        ("view emptied", "refresh materialized view rooms with no data", &["unpopulated materialized view"]),
    ],
    &[
        (
            "varchar narrowed",
            "alter table events alter type type varchar(20)",
            &["character varying(20)", "character varying(40)"],
        ),
        ("collation", "alter table members alter room_id type text collate \"C\"", &["collation"]),
    ],
];
