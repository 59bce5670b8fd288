//! Decimal numbers as PostgreSQL writes a `numeric`: digits without an exponent.

/// The widest number that is written out; PostgreSQL's own limit is above it.
const WIDEST: i64 = 20_000;

/// A number as `numeric` writes it, its scale kept: `1.50` stays, `15e-1` becomes `1.5`, `-0` becomes `0`. `None` when it
/// is no number.
pub fn plain(text: &str) -> Option<String> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) || exponent.abs() > WIDEST {
        return None;
    }
    // Where the point comes to stand among the digits.
    let point = whole.len() as i64 + exponent;
    let (whole, fraction) = match usize::try_from(point) {
        Ok(point) if point >= digits.len() => (format!("{digits:0<point$}"), String::new()),
        Ok(point) => (digits[..point].to_owned(), digits[point..].to_owned()),
        Err(_) => (String::new(), format!("{}{digits}", "0".repeat(point.unsigned_abs() as usize))),
    };
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let nothing = digits.bytes().all(|b| b == b'0');
    let sign = if negative && !nothing { "-" } else { "" };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// The same without trailing zeros, as `trim_scale` gives it.
pub fn trimmed(text: &[u8]) -> Option<String> {
    let number = plain(std::str::from_utf8(text).ok()?)?;
    Some(match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => number,
    })
}

/// A float as the shortest number that is read back as the same float.
pub fn of_float(n: f64) -> Option<String> {
    match n.is_finite() {
        true => trimmed(n.to_string().as_bytes()),
        false if n.is_nan() => None,
        false => Some(if n > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_without_an_exponent() {
        for (text, number) in [
            ("1.50", "1.50"),
            ("15e-1", "1.5"),
            ("-0.0", "0.0"),
            ("-0", "0"),
            ("+007", "7"),
            ("1e3", "1000"),
            ("1.25E2", "125"),
            ("1.5e-3", "0.0015"),
            (".5", "0.5"),
            ("5.", "5"),
        ] {
            assert_eq!(plain(text).as_deref(), Some(number), "{text}");
        }
        for text in ["", "-", ".", "e5", "1e", "1 ", "0x10", "NaN", "1e99999999999", "1_000"] {
            assert_eq!(plain(text), None, "{text}");
        }
        assert_eq!(trimmed(b"100").as_deref(), Some("100"));
        assert_eq!(trimmed(b"1.500").as_deref(), Some("1.5"));
        assert_eq!(trimmed(b"0.000").as_deref(), Some("0"));
        assert_eq!(of_float(0.1).as_deref(), Some("0.1"));
        assert_eq!(of_float(-0.0).as_deref(), Some("0"));
        assert_eq!(of_float(1e22).as_deref(), Some("10000000000000000000000"));
        assert_eq!(of_float(f64::NAN), None);
    }
}
