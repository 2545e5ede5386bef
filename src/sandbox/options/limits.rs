//! The switches of the rate limit.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::sandbox::units::parse_duration;

/// The rate limit.
#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "Rate limit")]
pub struct LimitOptions {
    /// Requests a key may make in a window; 0 is no limit at all, and no headers.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: u32,
    /// Length of the window.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub window: Duration,
    /// When a window begins.
    #[arg(long, value_name = "KIND", value_enum, default_value_t = WindowKind::Fixed)]
    pub window_kind: WindowKind,
    /// Which of the X-RateLimit headers are sent.
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = RateHeaders::All)]
    pub rate_headers: RateHeaders,
    /// What X-RateLimit-Reset says.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = ResetFormat::Epoch)]
    pub reset_format: ResetFormat,
    /// What Retry-After says on a 429.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = RetryAfter::Seconds)]
    pub retry_after: RetryAfter,
}

/// When a rate window begins.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowKind {
    /// At multiples of its length on the server's clock.
    Fixed,
    /// With the first request after the last window ended.
    FirstRequest,
    /// Always: the requests of the last window's length count.
    Sliding,
}

/// Which of the X-RateLimit headers are sent.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateHeaders {
    /// All three.
    All,
    /// None.
    None,
    /// Each of them with every other response, at random.
    Partial,
}

/// What X-RateLimit-Reset says.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetFormat {
    /// Seconds since 1970, as in the guide.
    Epoch,
    /// Milliseconds since 1970.
    EpochMs,
    /// Seconds from now.
    Delta,
    /// Seconds since 1970, with a fraction.
    Fractional,
}

/// What Retry-After says on a 429.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// Seconds from now.
    Seconds,
    /// An HTTP date.
    Date,
    /// It is not sent.
    None,
}
