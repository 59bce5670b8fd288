//! Patterns of names and lines as a shell has them.

/// True when `name` fits `pattern`, in which `*` stands for any characters and `?` for one.
pub fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Where the last star stood, and how much it has taken so far.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name) in
            [("*.dump", "a.dump"), ("syn*-*.d?mp", "synapse-2021-01.dump"), ("*", ""), ("a**b", "ab")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.dump", "a.dump.gz"), ("?", ""), ("a*b", "ac"), ("", "x"), ("[ab]", "a")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
        let long = "a".repeat(2000);
        assert!(!fits(&"a*".repeat(200).replace("**", "*"), &format!("b{long}")));
    }
}
