//! What versions say about one collation, and about what was sorted by it.

/// A collation in use, as one server sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collation {
    /// Its name: `pg_catalog.en-x-icu`, or the database's own.
    pub name: String,
    /// `c` libc, `i` ICU, `b` the server's own.
    pub provider: String,
    /// The locale, where libc sorts.
    pub locale: Option<String>,
    /// The version when it was made, as recorded.
    pub recorded: Option<String>,
    /// The version that the server finds now.
    pub actual: Option<String>,
    /// How many indexes and partitioned tables were sorted by it.
    pub uses: u64,
    /// The first of them.
    pub users: Vec<String>,
}

/// What can be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// By code point: its order never changes.
    Fixed,
    /// The recorded version is the present one.
    Same(String),
    /// It is another one.
    Changed(String, String),
    /// A version is missing.
    Unversioned(&'static str),
}

impl Collation {
    /// Where its order comes from.
    pub fn library(&self) -> &'static str {
        match self.provider.as_str() {
            "c" => "libc",
            "i" => "ICU",
            "b" => "built in",
            _ => "unknown provider",
        }
    }

    /// True for orders by code point, which PostgreSQL takes for unchangeable.
    pub fn is_fixed(&self) -> bool {
        let by_code_point = |locale: &str| {
            let locale = locale.to_ascii_lowercase();
            locale == "c" || locale == "posix" || locale.starts_with("c.")
        };
        match self.provider.as_str() {
            "c" => self.locale.as_deref().is_some_and(by_code_point),
            "b" => self.recorded == self.actual,
            _ => false,
        }
    }

    /// Recorded against present.
    pub fn state(&self) -> State {
        if self.is_fixed() {
            return State::Fixed;
        }
        match (&self.recorded, &self.actual) {
            (Some(was), Some(is)) if was == is => State::Same(is.clone()),
            (Some(was), Some(is)) => State::Changed(was.clone(), is.clone()),
            (None, Some(_)) => State::Unversioned("no version was recorded when it was made"),
            (Some(_), None) => State::Unversioned("its present version cannot be found out"),
            (None, None) => State::Unversioned("the server knows no version of it"),
        }
    }

    /// Who was sorted by it, in words.
    pub fn sorted_by_it(&self) -> String {
        let more = self.uses.saturating_sub(self.users.len() as u64);
        match more {
            0 => self.users.join(", "),
            n => format!("{} and {n} more", self.users.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collation(provider: &str, locale: Option<&str>, was: Option<&str>, is: Option<&str>) -> State {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let (locale, recorded, actual) = (own(locale), own(was), own(is));
        let provider = provider.to_owned();
        Collation { name: String::new(), provider, locale, recorded, actual, uses: 0, users: Vec::new() }
            .state()
    }

    #[test]
    fn a_missing_version_is_no_equal_version() {
        for fixed in ["C", "POSIX", "C.UTF-8", "C.utf8"] {
            assert_eq!(collation("c", Some(fixed), None, None), State::Fixed, "{fixed}");
        }
        assert_eq!(collation("b", Some("C.UTF-8"), Some("1"), Some("1")), State::Fixed);
        assert_eq!(
            collation("c", Some("en_US.UTF-8"), Some("2.31"), Some("2.31")),
            State::Same("2.31".into())
        );
        let changed = State::Changed("2.24".into(), "2.36".into());
        assert_eq!(collation("c", Some("en_US.UTF-8"), Some("2.24"), Some("2.36")), changed);
        let unversioned = |provider, was, is| {
            assert!(matches!(collation(provider, Some("de_DE"), was, is), State::Unversioned(_)));
        };
        unversioned("c", None, None);
        unversioned("c", None, Some("2.36"));
        unversioned("i", Some("153"), None);
        assert!(matches!(collation("c", None, None, None), State::Unversioned(_)), "no locale told");
    }
}
