//! What an answer says about the rate limit.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::HeaderMap;

/// When the window ends, as stated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reset {
    /// At this time of the server's clock, in microseconds since 1970.
    At {
        /// The stated time.
        micros: i64,
        /// Stated finer than in seconds; otherwise it may have been rounded down by up to one.
        fine: bool,
    },
    /// This long after the answer was made, give or take a second.
    In(Duration),
}

/// The rate headers of an answer; each may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct RateHeaders {
    pub(super) limit: Option<u32>,
    pub(super) remaining: Option<u32>,
    pub(super) reset: Option<Reset>,
}

impl RateHeaders {
    /// Reads `X-RateLimit-*`, or the IETF draft's `RateLimit-*`. What cannot be understood counts as missing.
    pub(super) fn parse(headers: &HeaderMap) -> Self {
        let number = |names: [&str; 2]| {
            let value = names.iter().find_map(|name| headers.get(*name))?.to_str().ok()?;
            // The draft allows parameters: `100, 100;w=60`.
            let figure = value.split([',', ';']).next()?.trim();
            figure
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite() && *number >= 0.0)
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to fit")]
        let whole = |number: f64| (number <= f64::from(u32::MAX)).then_some(number as u32);
        Self {
            limit: number(["x-ratelimit-limit", "ratelimit-limit"])
                .and_then(whole)
                .filter(|limit| *limit > 0),
            remaining: number(["x-ratelimit-remaining", "ratelimit-remaining"]).and_then(whole),
            reset: number(["x-ratelimit-reset", "ratelimit-reset"]).and_then(Reset::from_figure),
        }
    }
}

impl Reset {
    /// Beyond 10¹² it is milliseconds since 1970, beyond 10⁹ seconds since 1970, else seconds from now.
    fn from_figure(figure: f64) -> Option<Self> {
        let at = |micros: f64, fine| {
            #[expect(clippy::cast_possible_truncation, reason = "checked to fit")]
            (micros < 1e17).then_some(Self::At {
                micros: micros as i64,
                fine,
            })
        };
        if figure > 1e12 {
            at(figure * 1e3, true)
        } else if figure > 1e9 {
            at((figure * 1e6).round(), figure.fract() != 0.0)
        } else {
            Duration::try_from_secs_f64(figure).ok().map(Self::In)
        }
    }
}

/// The server's clock when it answered.
pub(super) fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let value = headers.get(http::header::DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(value).ok().map(|date| date.to_utc())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::HeaderName;

    use super::*;

    fn parse(pairs: &[(&'static str, &'static str)]) -> RateHeaders {
        let headers = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_static(value),
            )
        });
        RateHeaders::parse(&headers.collect())
    }

    #[test]
    fn the_guides_headers_and_the_drafts_are_read() {
        let at = |micros, fine| Some(Reset::At { micros, fine });
        for (reset, expected) in [
            ("1706097600", at(1_706_097_600_000_000, false)),
            ("1706097600.25", at(1_706_097_600_250_000, true)),
            ("1706097600250", at(1_706_097_600_250_000, true)),
            ("37", Some(Reset::In(Duration::from_secs(37)))),
            ("0.5", Some(Reset::In(Duration::from_millis(500)))),
        ] {
            let headers = parse(&[
                ("X-RateLimit-Limit", "1000"),
                ("X-RATELIMIT-REMAINING", "847"),
                ("x-ratelimit-reset", reset),
            ]);
            assert_eq!(
                (headers.limit, headers.remaining, headers.reset),
                (Some(1000), Some(847), expected)
            );
        }
        let draft = parse(&[("RateLimit-Limit", "100, 100;w=60"), ("RateLimit-Remaining", "7")]);
        assert_eq!((draft.limit, draft.remaining, draft.reset), (Some(100), Some(7), None));
    }

    #[test]
    fn garbage_counts_as_missing() {
        for garbage in ["", "soon", "-5", "NaN", "inf", "1e300", "Mon, 19 Jan 2026 10:00:00 GMT"] {
            let headers = parse(&[
                ("x-ratelimit-limit", garbage),
                ("x-ratelimit-remaining", garbage),
                ("x-ratelimit-reset", garbage),
            ]);
            assert_eq!(headers, RateHeaders::default(), "{garbage}");
        }
        assert_eq!(parse(&[("x-ratelimit-limit", "0")]).limit, None);
    }
}
