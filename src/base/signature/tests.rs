use super::*;

// Made once with ssh-keygen 9.2 and a key that was thrown away; the content is `the content\n`.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPy9Uwzxk/I+6JHw2K3WjwgD0ndvbD56O/NWesQjHDzA";
const PRINT: &str = "SHA256:neDhOUKTLXsBwhT1JuYjkUo8Xi72JmnYO8/AZW2/BiE";
const SIGNATURE: &str = "-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg/L1TDPGT8j7okfDYrdaPCAPSd2
9sPno781Z6xCMcPMAAAAARaG9sZHBvaW50LXJlY2VpcHQAAAAAAAAABnNoYTUxMgAAAFMA
AAALc3NoLWVkMjU1MTkAAABA0EVGTWqRRtzdCrudqXLvyaLkNrQz1HQL1rNSELbze7bEGt
rnVlfb2Oq03KzgQ+22845iSa5ZsroRzeltkwdTDQ==
-----END SSH SIGNATURE-----
";
const CONTENT: &[u8] = b"the content\n";
const FOR: &str = "holdpoint-receipt";

fn now() -> Timestamp {
    "2026-11-30T12:00:00Z".parse().unwrap()
}

fn allowed(text: &str) -> Allowed {
    Allowed::parse(text).unwrap()
}

fn asked(file: &str) -> Result<Signer, Refused> {
    verify(CONTENT, SIGNATURE, FOR, &allowed(file), now())
}

#[test]
fn a_signature_of_an_allowed_key_names_its_person() {
    let signer = asked(&format!("# people\n\nalice@example.org,alice {KEY} her laptop\n")).unwrap();
    assert_eq!((signer.name(), signer.fingerprint.as_str()), ("alice@example.org", PRINT));
    assert_eq!(signer.principals, ["alice@example.org", "alice"]);
    assert_eq!(fingerprint(CONTENT, SIGNATURE, FOR).unwrap(), PRINT);
    for options in [
        "namespaces=\"git,holdpoint-receipt\"",
        "valid-after=\"20261130Z\",valid-before=\"202611301201Z\"",
        "namespaces=\"holdpoint-receipt\",valid-before=\"20271231Z\"",
    ] {
        assert_eq!(asked(&format!("\"bob,robert\" {options} {KEY}")).unwrap().name(), "bob", "{options}");
    }
}

#[test]
fn other_content_another_purpose_and_any_changed_byte_are_refused() {
    let file = allowed(&format!("alice {KEY}"));
    let other = verify(b"the content", SIGNATURE, FOR, &file, now());
    assert_eq!(other.unwrap_err(), Refused::Forged(PRINT.to_owned()));
    let purpose = verify(CONTENT, SIGNATURE, "holdpoint-approval", &file, now()).unwrap_err();
    assert!(matches!(purpose, Refused::Namespace { .. }), "{purpose}");
    let bytes = unwrapped(SIGNATURE).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let armored = format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(&changed));
        assert!(verify(CONTENT, &armored, FOR, &file, now()).is_err(), "byte {at}");
        let cut = format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(&bytes[..at]));
        assert!(verify(CONTENT, &cut, FOR, &file, now()).is_err(), "cut at {at}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    let armored = format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(&longer));
    assert!(matches!(verify(CONTENT, &armored, FOR, &file, now()), Err(Refused::Malformed(_))));
    for text in ["", "hello", BEGIN, &SIGNATURE.replace("U1NI", "U1N!"), &"x".repeat(LONGEST + 1)] {
        assert!(matches!(verify(CONTENT, text, FOR, &file, now()), Err(Refused::Malformed(_))), "{text}");
    }
}

#[test]
fn a_key_counts_for_whom_for_what_and_when_the_file_says() {
    let other = KEY.replace("KEY", "").replace("IPy9U", "IPy9V");
    for (line, why) in [
        (String::new(), "not in the allowed signers file"),
        (format!("alice {other}"), "not in the allowed signers file"),
        (format!("alice namespaces=\"git\" {KEY}"), "line 1 does not allow it for `holdpoint-receipt`"),
        (format!("alice valid-after=\"20261201Z\" {KEY}"), "from 2026-12-01T00:00:00Z on"),
        (format!("alice valid-before=\"20261130115959Z\" {KEY}"), "before 2026-11-30T11:59:59Z only"),
        (format!("alice cert-authority {KEY}"), "authority for certificates"),
    ] {
        let refused = asked(&line).unwrap_err();
        assert!(refused.to_string().contains(why), "{line}: {refused}");
    }
}

#[test]
fn a_file_that_is_half_understood_allows_nobody() {
    for (line, why) in [
        (format!("* {KEY}"), "is a pattern"),
        (format!("!bob,alice {KEY}"), "is a pattern"),
        ("alice".to_owned(), "no key"),
        ("alice ssh-ed25519".to_owned(), "not base64"),
        ("alice ssh-ed25519 ####".to_owned(), "not base64"),
        (format!("alice {}", KEY.replace("ssh-ed25519", "ssh-rsa")), "not one of kind"),
        (format!("alice sometimes {KEY}"), "unknown option `sometimes`"),
        (format!("alice valid-after=\"20261130\" {KEY}"), "`Z`"),
        (format!("alice valid-after=\"2026113Z\" {KEY}"), "no time"),
        (format!("alice valid-after=\"20261331Z\" {KEY}"), "no time"),
        (format!("\"alice {KEY}"), "quote"),
    ] {
        let error = Allowed::parse(&format!("# first\n{line}\n")).unwrap_err();
        assert!(error.starts_with("line 2: ") && error.contains(why), "{line}: {error}");
    }
    assert!(allowed("# nobody\n").is_empty());
}
