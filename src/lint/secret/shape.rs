//! What secrets look like. Errs on the side of silence: a rule that cries wolf is switched off.

/// Beginnings of tokens, the fewest characters that follow, and whose they are.
const TOKENS: [(&str, usize, &str); 16] = [
    ("ghp_", 36, "a GitHub token"),
    ("gho_", 36, "a GitHub token"),
    ("ghu_", 36, "a GitHub token"),
    ("ghs_", 36, "a GitHub token"),
    ("github_pat_", 40, "a GitHub token"),
    ("glpat-", 20, "a GitLab token"),
    ("xoxb-", 20, "a Slack token"),
    ("xoxp-", 20, "a Slack token"),
    ("syt_", 30, "a Synapse access token"),
    ("AKIA", 16, "an AWS access key"),
    ("ASIA", 16, "an AWS access key"),
    ("AIza", 35, "a Google API key"),
    ("sk_live_", 16, "a Stripe key"),
    ("npm_", 36, "an npm token"),
    ("hvs.", 24, "a Vault token"),
    ("pypi-", 50, "a PyPI token"),
];

/// Options whose value is a secret.
const OPTIONS: [&str; 9] = [
    "--password",
    "--passwd",
    "--passphrase",
    "--token",
    "--secret",
    "--api-key",
    "--access-token",
    "--secret-key",
    "--secret-access-key",
];

/// Words that stand for a value.
const PLACEHOLDERS: [&str; 12] = [
    "changeme",
    "change-me",
    "example",
    "hidden",
    "password",
    "placeholder",
    "redacted",
    "replace-me",
    "secret",
    "todo",
    "token",
    "none",
];

/// A secret by its shape alone: what it is, and its text.
pub(super) fn shaped(text: &str) -> Option<(&'static str, &str)> {
    // Nearly all texts are shorter than the shortest token.
    if text.len() < 20 {
        return url(text);
    }
    if let Some(at) = text.find("-----BEGIN ") {
        let line = text[at..].lines().next().unwrap_or_default();
        if line.trim_end().ends_with("PRIVATE KEY-----") || line.contains("PRIVATE KEY BLOCK-----") {
            return Some(("a private key", line.trim_end()));
        }
    }
    for (beginning, least, what) in TOKENS {
        for (at, _) in text.match_indices(beginning) {
            let inside = text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            let rest = &text[at + beginning.len()..];
            let length = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
                .unwrap_or(rest.len());
            let token = &text[at..at + beginning.len() + length];
            // An AWS key has exactly sixteen upper-case letters and digits.
            let aws = least == 16 && beginning.ends_with("IA");
            let fits = if aws {
                length == 16 && !token.contains(|c: char| c.is_ascii_lowercase() || c == '_' || c == '-')
            } else {
                length >= least
            };
            if !inside && fits && varied(token) {
                return Some((what, token));
            }
        }
    }
    bearer(text).or_else(|| url(text))
}

/// `xxxxxxxx` stands for a token and is none.
fn varied(token: &str) -> bool {
    let mut seen: Vec<char> = token.chars().skip(4).collect();
    seen.sort_unstable();
    seen.dedup();
    seen.len() >= 6
}

fn bearer(text: &str) -> Option<(&'static str, &str)> {
    let rest = text.split("Bearer ").nth(1)?;
    let end =
        rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._~+/-=".contains(c))).unwrap_or(rest.len());
    let token = &rest[..end];
    (token.len() >= 16 && varied(token)).then_some(("the value of `Bearer`", token))
}

/// `scheme://user:password@host`.
fn url(text: &str) -> Option<(&'static str, &str)> {
    text.match_indices("://").find_map(|(at, _)| {
        let rest = &text[at + 3..];
        let end = rest.find(|c: char| c.is_whitespace() || "/?#'\"".contains(c)).unwrap_or(rest.len());
        let (login, _) = rest[..end].rsplit_once('@')?;
        let (_, password) = login.split_once(':')?;
        literal(password).then_some(("the password in an address", password))
    })
}

/// `password=…` of a connection string, `PGPASSWORD=…` of a shell, `--password …`: the name and the value.
pub(super) fn assigned(text: &str) -> Option<(&str, &str)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let program = words.first().copied().unwrap_or_default();
    for (nth, word) in words.iter().enumerate() {
        if let Some(value) =
            words.get(nth + 1).filter(|_| option(word, program) && !script_of_postgres(&words[..nth]))
            && !value.starts_with('-')
            && literal(value)
        {
            return Some((word, bare(value)));
        }
        for part in word.split(['?', '&', ';', '(']) {
            let part = part.trim_start_matches(['\'', '"']);
            let Some((name, value)) = part.split_once('=') else { continue };
            let plain = name.trim_start_matches('-');
            let known = ["password", "sslpassword", "passwd"].contains(&plain)
                || plain.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
                    && named(plain)
                || OPTIONS.contains(&name);
            if known && literal(value) {
                return Some((name, bare(value)));
            }
        }
    }
    None
}

/// In a script: the command that the option belongs to is PostgreSQL's, whose `--password` takes no value.
fn script_of_postgres(before: &[&str]) -> bool {
    before.iter().rev().take(12).any(|word| postgres(word))
}

fn postgres(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default();
    name.starts_with("pg_")
        || ["psql", "createdb", "dropdb", "createuser", "dropuser", "vacuumdb", "reindexdb", "clusterdb"]
            .contains(&name)
}

/// True for an option whose next word is a secret.
pub(super) fn option(word: &str, program: &str) -> bool {
    OPTIONS.contains(&word) && !postgres(program)
}

/// True for a name that promises a secret.
pub(super) fn named(name: &str) -> bool {
    let lower = name.to_lowercase().replace(['-', '.'], "_");
    let parts: Vec<&str> = lower.split('_').filter(|part| !part.is_empty()).collect();
    let Some((last, before)) = parts.split_last() else { return false };
    let one = |part: &str| {
        ["password", "passwd", "passphrase", "secret", "token", "apikey", "pgpassword"].contains(&part)
    };
    // `password_file` and `token_age` are about a secret, and none.
    one(last)
        || (*last == "key"
            && before.last().is_some_and(|part| ["api", "private", "access", "secret"].contains(part)))
}

/// True for a text that is a value of its own: no variable, no path, no word that stands for one.
pub(super) fn literal(value: &str) -> bool {
    let value = bare(value);
    let stands_in = value.starts_with(['/', '~', '.', '$', '`', '<', '%', '{', '@', '[', '*'])
        || value.contains(['$', '`', '…'])
        || value.ends_with("...")
        || PLACEHOLDERS.contains(&value.to_lowercase().as_str())
        || value.to_lowercase().starts_with("your")
        || value.to_lowercase().starts_with("todo")
        || value.chars().all(|c| c == 'x' || c == 'X')
        || value.parse::<bool>().is_ok();
    value.chars().count() >= 4 && !stands_in
}

/// Without quotes, and without what ends a command.
fn bare(value: &str) -> &str {
    value.trim_matches(['\'', '"', ';', ')', ','])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_secrets() {
        for (text, secret) in [
            ("host=db password=hunter2-x user=a", "hunter2-x"),
            ("host=db password='hunter2-x'", "hunter2-x"),
            ("postgres://db/x?sslmode=require&password=hunter2-x", "hunter2-x"),
            ("PGPASSWORD=hunter2-x psql -c 'select 1'", "hunter2-x"),
            ("export API_KEY=\"hunter2-x\"", "hunter2-x"),
            ("mysql --password=hunter2-x", "hunter2-x"),
            ("restic --password hunter2-x snapshots", "hunter2-x"),
        ] {
            assert_eq!(assigned(text).map(|(_, secret)| secret), Some(secret), "{text}");
        }
        for (text, secret) in [
            ("postgres://me:hunter2-x@db9/x", "hunter2-x"),
            ("curl -H 'Authorization: Bearer abcdefgh12345678'", "abcdefgh12345678"),
            ("x AKIAIOSFODNN7EXAMPL3 y", "AKIAIOSFODNN7EXAMPL3"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc", "-----BEGIN OPENSSH PRIVATE KEY-----"),
            ("syt_YWRtaW4_aBcDeFgHiJkLmNoPqRsT_0a1b2c", "syt_YWRtaW4_aBcDeFgHiJkLmNoPqRsT_0a1b2c"),
        ] {
            assert_eq!(shaped(text).map(|(_, secret)| secret), Some(secret), "{text}");
        }
    }

    #[test]
    fn keeps_quiet_about_what_is_none() {
        for text in [
            "host=db user=a",
            "password=${password}",
            "password=$PGPASSWORD",
            "PGPASSWORD=\"$(cat /etc/pw)\" psql",
            "PGPASSFILE=/etc/app/.pgpass psql",
            "password=",
            "password=<password>",
            "password=changeme",
            "psql --password synapse",
            "pg_dump --password -Fc synapse",
            "restic --password-file /etc/restic snapshots",
            "restic --password $pw",
            "select password from users where token = 'x'",
            "TOKEN_COUNT=12345",
            "postgres://me@db9/x",
            "https://example.org:8448/path@x",
            "postgres://me:${password}@db/x",
            "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN PUBLIC KEY-----",
            "Bearer $token",
        ] {
            assert_eq!((assigned(text), shaped(text)), (None, None), "{text}");
        }
        for name in ["password_file", "token_age", "tokens", "key", "primary_key", "secrets_dir", "passwords"]
        {
            assert!(!named(name), "{name}");
        }
        for name in ["PGPASSWORD", "db_password", "api_key", "ACCESS_TOKEN", "secret"] {
            assert!(named(name), "{name}");
        }
    }
}
