//! Spans and moments as people write them.

use jiff::{SignedDuration, Timestamp};

/// A span: `30s`, `5m`, `12h`, `90d`.
pub(super) fn span(written: &str) -> Result<SignedDuration, String> {
    let help = || "write `30s`, `5m`, `12h` or `90d`".to_owned();
    let unit = written.chars().last().ok_or_else(help)?;
    let digits = written.strip_suffix(unit).ok_or_else(help)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(help());
    }
    let count: i64 = digits.parse().map_err(|_| help())?;
    count
        .checked_mul(seconds(unit).ok_or_else(help)?)
        .filter(|span| *span > 0)
        .map(SignedDuration::from_secs)
        .ok_or_else(help)
}

/// A moment to come: a span from now, or RFC 3339.
pub(super) fn future(written: &str) -> Result<Timestamp, String> {
    let now = Timestamp::now();
    let at = match written.parse::<Timestamp>() {
        Ok(at) => at,
        Err(_) => match span(written) {
            Ok(span) => now.checked_add(span).map_err(|_| "that is beyond the calendar".to_owned())?,
            Err(_) => {
                return Err("write `12h`, `90d`, or a moment such as `2027-01-01T00:00:00Z`".to_owned());
            }
        },
    };
    if at <= now { Err("that moment has passed".to_owned()) } else { Ok(at) }
}

/// A moment, or a span before now.
pub(super) fn past(written: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = written.parse() {
        return Ok(moment);
    }
    let help = || "write `5m`, `1h`, `7d`, or a moment such as `2026-11-24T12:00:00Z`".to_owned();
    let unit = written.chars().last().ok_or_else(help)?;
    let count: i64 = written.strip_suffix(unit).and_then(|digits| digits.parse().ok()).ok_or_else(help)?;
    let span =
        count.checked_mul(seconds(unit).ok_or_else(help)?).filter(|span| *span >= 0).ok_or_else(help)?;
    Timestamp::now().checked_sub(SignedDuration::from_secs(span)).map_err(|_| help())
}

/// The seconds of a unit.
fn seconds(unit: char) -> Option<i64> {
    match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(86_400),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit_and_are_not_nothing() {
        assert_eq!(span("90d").unwrap().as_hours(), 2_160);
        assert_eq!(span("5m").unwrap().as_secs(), 300);
        for bad in ["", "5", "m", "0s", "-5m", "+5m", "5x", "5 m", "99999999999999999d", "5ü"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_moment_to_come_is_a_span_from_now_or_a_date() {
        assert!(future("1h").unwrap() > Timestamp::now());
        assert_eq!(future("2999-01-01T00:00:00Z").unwrap().to_string(), "2999-01-01T00:00:00Z");
        for bad in ["2000-01-01T00:00:00Z", "soon", "99999999d"] {
            assert!(future(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn moments_are_absolute_or_before_now() {
        assert_eq!(past("2026-11-24T12:00:00Z").unwrap().to_string(), "2026-11-24T12:00:00Z");
        let hour = Timestamp::now().duration_since(past("1h").unwrap());
        assert!((3_599..=3_601).contains(&hour.as_secs()), "{hour}");
        for bad in ["", "h", "5x", "-5m", "soon", "99999999999999999d"] {
            assert!(past(bad).is_err(), "{bad}");
        }
    }
}
