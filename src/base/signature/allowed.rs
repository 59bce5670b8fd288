//! An allowed signers file: which key is whose (ssh-keygen(1), "ALLOWED SIGNERS"). The same file serves git.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Whose keys count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    line: usize,
    principals: Vec<String>,
    authority: bool,
    namespaces: Option<Vec<String>>,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
    key: Vec<u8>,
}

impl Allowed {
    /// Reads such a file.
    ///
    /// # Errors
    /// Names the line, and what is wrong with it: a file that is half understood allows nobody.
    pub fn parse(text: &str) -> Result<Allowed, String> {
        let mut entries = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                entries.push(entry(at + 1, line).map_err(|why| format!("line {}: {why}", at + 1))?);
            }
        }
        Ok(Allowed { entries })
    }

    /// True when it allows nobody.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names that a key stands for, for this namespace and at that time; else why it stands for none.
    pub(super) fn names(&self, key: &[u8], namespace: &str, at: Timestamp) -> Result<Vec<String>, String> {
        let mut why = "it is not in the allowed signers file".to_owned();
        let mut names = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.key == key) {
            match entry.refuses(namespace, at) {
                Some(reason) => why = format!("line {} {reason}", entry.line),
                None => names.extend(entry.principals.iter().cloned()),
            }
        }
        if names.is_empty() { Err(why) } else { Ok(names) }
    }
}

impl Entry {
    fn refuses(&self, namespace: &str, at: Timestamp) -> Option<String> {
        if self.authority {
            return Some("makes it an authority for certificates, which are not supported".to_owned());
        }
        if self.namespaces.as_ref().is_some_and(|all| !all.iter().any(|one| one == namespace)) {
            return Some(format!("does not allow it for `{namespace}`"));
        }
        if let Some(after) = self.after.filter(|after| at < *after) {
            return Some(format!("allows it from {after} on"));
        }
        if let Some(before) = self.before.filter(|before| at >= *before) {
            return Some(format!("allowed it before {before} only"));
        }
        None
    }
}

fn entry(line: usize, text: &str) -> Result<Entry, String> {
    let mut words = words(text)?.into_iter();
    let principals = words.next().ok_or("no name")?;
    let principals: Vec<String> = principals.split(',').map(|name| name.trim().to_owned()).collect();
    if let Some(name) = principals.iter().find(|name| name.is_empty() || name.contains(['*', '?', '!'])) {
        return Err(format!("`{name}` is a pattern; write out whose key it is"));
    }
    let mut entry = Entry {
        line,
        principals,
        authority: false,
        namespaces: None,
        after: None,
        before: None,
        key: Vec::new(),
    };
    let mut word = words.next().ok_or("no key")?;
    if !kind(&word) {
        for option in split(&word) {
            entry.option(&option)?;
        }
        word = words.next().ok_or("no key")?;
    }
    if !kind(&word) {
        return Err(format!("`{word}` is no kind of key"));
    }
    let key = words.next().and_then(|text| STANDARD.decode(text).ok()).ok_or("the key is not base64")?;
    let named = super::blob::Reader::new(&key).bytes().is_some_and(|inside| inside == word.as_bytes());
    if !named {
        return Err(format!("the key is not one of kind `{word}`"));
    }
    entry.key = key;
    Ok(entry)
}

impl Entry {
    fn option(&mut self, option: &str) -> Result<(), String> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name.to_ascii_lowercase().as_str() {
            "cert-authority" => self.authority = true,
            "namespaces" => self.namespaces = Some(value.split(',').map(str::to_owned).collect()),
            "valid-after" => self.after = Some(time(value)?),
            "valid-before" => self.before = Some(time(value)?),
            _ => return Err(format!("unknown option `{name}`")),
        }
        Ok(())
    }
}

/// `20261130Z` or `202611301530[15]Z`. Without the `Z` the time would depend on where it is read.
fn time(text: &str) -> Result<Timestamp, String> {
    let digits = text.strip_suffix('Z').ok_or_else(|| format!("`{text}`: end the time with `Z` (UTC)"))?;
    let wrong = || format!("`{text}` is no time as `YYYYMMDD[HHMM[SS]]Z`");
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(digits.len(), 8 | 12 | 14) {
        return Err(wrong());
    }
    let full = format!("{digits:0<14}");
    let time = DateTime::strptime("%Y%m%d%H%M%S", &full).map_err(|_| wrong())?;
    time.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()).map_err(|_| wrong())
}

fn kind(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start))
}

/// Words at white space outside double quotes; the quotes go.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in text.chars() {
        match c {
            '"' => (quoted, any) = (!quoted, true),
            c if c.is_ascii_whitespace() && !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            // A comma within quotes belongs to the value: told from one between options by this mark.
            ',' if quoted => (word, any) = (word + "\u{1}", true),
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    if any {
        words.push(word);
    }
    // Names may be quoted as a whole.
    if let Some(first) = words.first_mut() {
        *first = first.replace('\u{1}', ",");
    }
    Ok(words)
}

fn split(options: &str) -> Vec<String> {
    options.split(',').map(|option| option.replace('\u{1}', ",")).collect()
}
