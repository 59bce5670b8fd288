//! The two ways to write a connection down, as libpq reads them: `host=... dbname=...` and `postgres://...`. Pure text
//! to keys and values; what they mean is decided in [`super::settings`].

use std::collections::BTreeMap;

/// Keys and values as written. Empty values are kept: `host=''` means the default.
pub type Pairs = BTreeMap<String, String>;

/// Reads a conninfo string or a URL. Errors never repeat the text, which may hold a password.
pub fn parse(text: &str) -> Result<Pairs, String> {
    let text = text.trim();
    match text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
        Some(rest) => url(rest),
        None => key_values(text),
    }
}

fn key_values(text: &str) -> Result<Pairs, String> {
    let mut pairs = Pairs::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(pairs);
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            key.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.next() != Some('=') {
            return Err(if pairs.is_empty() {
                "the connection string must be key=value pairs (host=... dbname=...) or a postgres:// URL"
                    .to_owned()
            } else {
                "a word without `=` in the connection string; quote values that hold spaces: key='a b'"
                    .to_owned()
            });
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let mut value = String::new();
        let quoted = chars.next_if_eq(&'\'').is_some();
        loop {
            match chars.next() {
                None if quoted => return Err(format!("the quoted value of `{key}` has no end")),
                None => break,
                Some('\'') if quoted => break,
                Some(c) if !quoted && c.is_whitespace() => break,
                Some('\\') => value.extend(chars.next()),
                Some(c) => value.push(c),
            }
        }
        insert(&mut pairs, &key, value)?;
    }
}

fn url(rest: &str) -> Result<Pairs, String> {
    let mut pairs = Pairs::new();
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    // A password may hold an unescaped `@`; host names cannot.
    let (login, hosts) =
        authority.rsplit_once('@').map_or((None, authority), |(login, hosts)| (Some(login), hosts));
    if let Some(login) = login {
        let (user, password) =
            login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        if !user.is_empty() {
            insert(&mut pairs, "user", decode(user)?)?;
        }
        if let Some(password) = password {
            insert(&mut pairs, "password", decode(password)?)?;
        }
    }
    if !hosts.is_empty() {
        let mut names = Vec::new();
        let mut ports = Vec::new();
        for host in hosts.split(',') {
            let (name, port) = match host.strip_prefix('[') {
                Some(inside) => {
                    let (address, after) = inside
                        .split_once(']')
                        .ok_or_else(|| "an IPv6 address in the URL has `[` without `]`".to_owned())?;
                    (address, after.strip_prefix(':').unwrap_or_default())
                }
                None => host.split_once(':').unwrap_or((host, "")),
            };
            names.push(decode(name)?);
            ports.push(decode(port)?);
        }
        if names.iter().any(|name| !name.is_empty()) {
            insert(&mut pairs, "host", names.join(","))?;
        }
        if ports.iter().any(|port| !port.is_empty()) {
            insert(&mut pairs, "port", ports.join(","))?;
        }
    }
    if !database.is_empty() {
        insert(&mut pairs, "dbname", decode(database)?)?;
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| "a URL parameter has no `=`; write ?key=value&key=value".to_owned())?;
        match (decode(key)?.as_str(), decode(value)?) {
            ("ssl", value) if value == "true" => insert(&mut pairs, "sslmode", "require".to_owned())?,
            (key, value) => insert(&mut pairs, key, value)?,
        }
    }
    Ok(pairs)
}

/// The last one wins, as in libpq.
fn insert(pairs: &mut Pairs, key: &str, value: String) -> Result<(), String> {
    if value.contains('\0') {
        return Err(format!("the value of `{key}` holds a zero byte"));
    }
    pairs.insert(key.to_owned(), value);
    Ok(())
}

fn decode(text: &str) -> Result<String, String> {
    let wrong =
        || "a `%` in the URL must be followed by two hexadecimal digits (write %25 for `%`)".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok()).ok_or_else(wrong)?;
            if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).map_err(|_| "the URL is not UTF-8 after decoding".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        match parse(text) {
            Ok(pairs) => pairs.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("|"),
            Err(why) => format!("error: {why}"),
        }
    }

    #[test]
    fn reads_key_value_strings() {
        for (text, wanted) in [
            ("", ""),
            ("host=a dbname = b", "dbname=b|host=a"),
            (
                "password='it''s'",
                "error: a word without `=` in the connection string; quote values that hold spaces: key='a b'",
            ),
            (r"password='it\'s \\ fine' user=u", r"password=it's \ fine|user=u"),
            (r"password=a\ b", "password=a b"),
            ("host='' port=5432", "host=|port=5432"),
            ("host=a host=b", "host=b"),
            ("host='a", "error: the quoted value of `host` has no end"),
            ("options='-c geqo=off'", "options=-c geqo=off"),
        ] {
            assert_eq!(show(text), wanted, "{text}");
        }
        assert!(show("nonsense").starts_with("error: the connection string must be"));
        assert!(!show("host=a s3cret").contains("s3cret"), "an error never repeats what may be a password");
    }

    #[test]
    fn reads_urls() {
        for (text, wanted) in [
            ("postgres://", ""),
            ("postgresql://localhost", "host=localhost"),
            (
                "postgres://u:p%40ss@h:5433/db?sslmode=require",
                "dbname=db|host=h|password=p@ss|port=5433|sslmode=require|user=u",
            ),
            ("postgres://u@%2Frun%2Fpg/db", "dbname=db|host=/run/pg|user=u"),
            ("postgres://h1:1,h2,[::1]:3/db", "dbname=db|host=h1,h2,::1|port=1,,3"),
            ("postgres:///db?host=/tmp&port=5&ssl=true", "dbname=db|host=/tmp|port=5|sslmode=require"),
            ("postgres://h/db?application_name=a%20b", "application_name=a b|dbname=db|host=h"),
        ] {
            assert_eq!(show(text), wanted, "{text}");
        }
        for wrong in [
            "postgres://[::1/db",
            "postgres://h/%zz",
            "postgres://h/d?x",
            "postgres://h/%f",
            "postgres://h/%ff",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
