//! `200/s`: how a rate is written.
//!
//! Must not know what is counted.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

/// So many in a second, a minute, an hour or a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    unit: char,
}

/// Not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no rate: a number from 1 to 4294967295, \"/\" and s, m, h or d are accepted, as in \"200/s\""
)]
pub struct BadRate(String);

impl Rate {
    /// How many.
    pub const fn count(self) -> NonZeroU32 {
        self.count
    }

    /// How many in a second, rounded up.
    pub fn per_second(self) -> NonZeroU32 {
        let seconds = u32::try_from(self.period().as_secs()).unwrap_or(u32::MAX);
        NonZeroU32::new(self.count.get().div_ceil(seconds)).unwrap_or(NonZeroU32::MIN)
    }

    /// In what time.
    pub const fn period(self) -> Duration {
        Duration::from_secs(match self.unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            _ => 86_400,
        })
    }
}

impl FromStr for Rate {
    type Err = BadRate;

    fn from_str(text: &str) -> Result<Self, BadRate> {
        let bad = || BadRate(text.to_owned());
        let (count, unit) = text.split_once('/').ok_or_else(bad)?;
        let unit = match unit {
            "s" => 's',
            "m" => 'm',
            "h" => 'h',
            "d" => 'd',
            _ => return Err(bad()),
        };
        if !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        Ok(Self { count: count.parse().map_err(|_| bad())?, unit })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (text, count, seconds) in
            [("200/s", 200, 1), ("6000/m", 6000, 60), ("1/h", 1, 3600), ("4294967295/d", u32::MAX, 86_400)]
        {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(
                (rate.count().get(), rate.period().as_secs(), rate.to_string().as_str()),
                (count, seconds, text)
            );
        }
        for bad in [
            "",
            "/s",
            "0/s",
            "-1/s",
            "+1/s",
            "1",
            "1/",
            "1/ms",
            "1 /s",
            "1/s ",
            "1.5/s",
            "4294967296/s",
            "1/S",
        ] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
