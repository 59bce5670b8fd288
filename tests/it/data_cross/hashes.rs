//! Hashes made here are those of real servers, for random values and for each type.

use holdpoint::check::Verdict;
use holdpoint::check::data::cross::hash;
use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::json;

use super::super::data::context;
use super::{Dice, copy, expect, file, hex, run};
use crate::harness::{Cluster, Major};

/// Thousands of random values hash here as they do on a server.
pub fn hashes(major: Major) {
    let server = Cluster::start(major);
    assert_eq!(server.psql(hash::PROBE), hash::probed());
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..8 {
        let (mut values, mut wanted) = (Vec::new(), Vec::new());
        for at in 0..500u64 {
            let seed = if at % 50 == 0 { 0 } else { dice.next() as i64 };
            let number = (dice.next() >> (dice.next() % 64)) as i64 * if at % 2 == 0 { 1 } else { -1 };
            let bytes: Vec<u8> = (0..dice.next() % 70).map(|_| (dice.next() % 128).max(1) as u8).collect();
            let float = f64::from_bits(dice.next());
            let float = if float.is_finite() { float } else { at as f64 };
            values.push(format!(
                "('{seed}'::int8, '{number}'::int8, '{}'::int4, convert_from('\\x{}', 'UTF8'), '{float:e}'::float8)",
                number as i32,
                hex(&bytes)
            ));
            wanted.push(format!(
                "{}|{}|{}|{}|{}",
                hash::int8(number, seed),
                hash::int4(number as i32, seed),
                hash::bytes(&bytes, seed),
                hash::one(hash::bytes(&bytes, seed)),
                hash::float8(float, seed)
            ));
        }
        let given = server.psql(&format!(
            "select hashint8extended(n, s), hashint4extended(i, s), hashtextextended(t collate \"C\", s), \
             hash_array_extended(array[convert_to(t, 'UTF8')], s), hashfloat8extended(f, s) from (values {}) v(s, n, i, t, f)",
            values.join(", ")
        ));
        assert_eq!(given.lines().collect::<Vec<_>>(), wanted);
    }
}

/// Each type, thousands of random values: what PostgreSQL reads of SQLite's value hashes alike on both sides.
pub fn types(major: Major) {
    const COLUMNS: &[&str] = &[
        "b boolean",
        "i2 smallint",
        "i4 integer",
        "i8 bigint",
        "o oid",
        "f8 double precision",
        "n numeric",
        "t text",
        "v varchar(90)",
        "c char(40)",
        "raw bytea",
        "u uuid",
        "d date",
        "ts timestamp",
        "tz timestamptz",
        "js json",
        "jb jsonb",
        "m mood",
        "ip inet",
        "nums integer[]",
        "f4 real",
        "late timestamp with time zone",
        "name_ mxid",
    ];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("types.db");
    let untyped: Vec<&str> = COLUMNS.iter().map(|column| column.split(' ').next().unwrap()).collect();
    run(&path, &format!("create table types (id integer primary key, {})", untyped.join(", ")));
    let mut connection = Connection::open(&path).unwrap();
    let writing = connection.transaction().unwrap();
    let mut dice = Dice(0xd1b5_4a32_d192_ed03);
    for id in 0..1500i64 {
        let mut text = |most: u64| -> String {
            let length = dice.next() % most;
            (0..length)
                .map(|_| {
                    ['a', 'Z', '0', ' ', '\'', '"', '\\', '\n', '\u{1}', 'é', '☃', '\u{1f600}']
                        [(dice.next() % 12) as usize]
                })
                .collect()
        };
        let (t, v, c) = (text(80), text(80), text(40));
        let json_text =
            serde_json::to_string(&json!({ "k": t, "é": [1, 2.50, null, v], "zz": { "b": true, "aa": {} } }))
                .unwrap();
        let (a, b) = (dice.next(), dice.next());
        let signed = (a >> (b % 64)) as i64 * if a % 2 == 0 { 1 } else { -1 };
        let float = Some(f64::from_bits(dice.next())).filter(|f| f.is_finite()).unwrap_or(0.5);
        let day = format!("{:04}-{:02}-{:02}", 1 + a % 9998, 1 + a % 12, 1 + b % 28);
        let time = format!("{:02}:{:02}:{:02}.{:06}", a % 24, b % 60, a % 60, b % 1_000_000);
        let number = match a % 4 {
            0 => Value::Integer(signed),
            1 => Value::Real(signed as f64 / 1024.0),
            2 => Value::Text(format!("{signed}.{b:020}00")),
            _ => Value::Text(format!("{}e{}", signed % 1000, b % 40)),
        };
        let uuid = match a % 2 {
            0 => Value::Blob([a.to_be_bytes(), b.to_be_bytes()].concat()),
            _ => Value::Text(format!("{a:016X}{b:016x}")),
        };
        let eight = if a % 5 == 0 { Value::Integer(signed >> 11) } else { Value::Real(float) };
        let marks = vec!["?"; COLUMNS.len()].join(", ");
        let values: Vec<Value> = vec![
            ((a % 2) as i64).into(),
            i64::from(signed as i16).into(),
            i64::from(signed as i32).into(),
            signed.into(),
            i64::from(a as u32).into(),
            eight,
            number,
            t.into(),
            v.into(),
            c.into(),
            b.to_le_bytes().to_vec().into(),
            uuid,
            day.clone().into(),
            format!("{day} {time}").into(),
            format!("{day}T{time}{}", ["Z", "+02:00", "-11:30"][(a % 3) as usize]).into(),
            json_text.clone().into(),
            json_text.into(),
            ["calm", "busy"][(a % 2) as usize].to_owned().into(),
            format!("10.{}.0.1", a % 256).into(),
            format!("{{{},{}}}", signed as i16, b % 7).into(),
            f64::from(signed as i32 as f32 / 3.0).into(),
            format!("{day} {}", &time[..5]).into(),
            format!("@u{}", a % 99).into(),
        ];
        let mut values: Vec<Value> = values
            .into_iter()
            .map(|value| if dice.next().is_multiple_of(23) { Value::Null } else { value })
            .collect();
        if let Value::Text(late) = &mut values[21] {
            late.push_str("+00");
        }
        values.insert(0, id.into());
        writing
            .execute(&format!("insert into types values (?, {marks})"), rusqlite::params_from_iter(values))
            .unwrap();
    }
    writing.commit().unwrap();
    drop(connection);
    let server = Cluster::start(major);
    server.psql(
        "create type mood as enum ('calm', 'busy'); create domain mxid as text check (value like '@%')",
    );
    server.psql(&format!("create table types (id bigint primary key, {})", COLUMNS.join(", ")));
    copy(&path, &server, "postgres", "types");
    let cx = context(&[("lite", file(&path)), ("pg", server.target("postgres"))]);
    expect(
        &cx,
        "data_matches",
        &json!({ "source": "lite", "target": "pg" }),
        Verdict::Pass,
        &["1 table, 1,500 rows"],
    );
    expect(
        &cx,
        "data_matches",
        &json!({ "source": "pg", "target": "lite" }),
        Verdict::Pass,
        &["1 table, 1,500 rows"],
    );
    // And each of them is looked at.
    server.psql("create table kept as select * from types");
    let some = json!({ "source": "lite", "target": "pg", "tables": ["types"] });
    for column in untyped.iter().filter(|_| major == Major::V15) {
        let id = server.psql(&format!(
            "update types t set {column} = (select {column} from kept where {column} is not null and {column}::text <> t.{column}::text limit 1) \
             where id = (select min(id) from kept where {column} is not null) returning id"
        ));
        expect(
            &cx,
            "data_matches",
            &some,
            Verdict::Fail,
            &[&format!("1 row differs: id={id}"), &format!("in the columns: {column}")],
        );
        server.psql(&format!(
            "update types t set {column} = k.{column} from kept k where k.id = t.id and t.id = {id}"
        ));
    }
}
