//! Numbers, times and addresses, appended to a line in memory.
//!
//! Must not allocate, but for the line itself: it runs many times for every request.

use std::{
    cell::Cell,
    fmt::{self, Write as _},
    net::{IpAddr, SocketAddr},
    time::{SystemTime, UNIX_EPOCH},
};

use super::escape::{self, Escape};
use crate::net::authority::Host;

/// All numbers of two digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// A number.
pub(super) fn decimal(line: &mut Vec<u8>, value: u64) {
    // Most have few digits, and so many are written at once.
    match value {
        0..10 => line.push(b'0' + value as u8),
        10..100 => line.extend_from_slice(&PAIRS[value as usize]),
        100..1000 => line.extend_from_slice(&three_digits(value)),
        _ => any_decimal(line, value),
    }
}

/// A number, divided by a thousand.
pub(super) fn thousandths(line: &mut Vec<u8>, value: u64) {
    decimal(line, value / 1000);
    let [hundreds, tens, ones] = three_digits(value % 1000);
    line.extend_from_slice(&[b'.', hundreds, tens, ones]);
}

/// One below 1,000, with zeros in front.
fn three_digits(value: u64) -> [u8; 3] {
    let [tens, ones] = PAIRS[(value % 100) as usize];
    [b'0' + (value / 100) as u8, tens, ones]
}

fn any_decimal(line: &mut Vec<u8>, mut value: u64) {
    let mut places = [0; 20];
    let mut at = places.len();
    while value >= 10 {
        at -= 2;
        places[at..at + 2].copy_from_slice(&PAIRS[(value % 100) as usize]);
        value /= 100;
    }
    if value > 0 || at == places.len() {
        at -= 1;
        places[at] = b'0' + value as u8;
    }
    line.extend_from_slice(&places[at..]);
}

/// The last `places` digits of a number, with zeros in front.
pub(super) fn digits(line: &mut Vec<u8>, mut value: u64, places: usize) {
    let start = line.len();
    line.resize(start + places, b'0');
    for place in line[start..].iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// An address as its `Display` has it, without its cost for the common case.
pub(super) fn address(line: &mut Vec<u8>, address: &SocketAddr) {
    match address {
        SocketAddr::V4(v4) => {
            ip(line, &IpAddr::V4(*v4.ip()));
            line.push(b':');
            decimal(line, u64::from(v4.port()));
        }
        SocketAddr::V6(_) => display::<escape::Json>(line, address, 64),
    }
}

/// An address without its port.
pub(super) fn ip(line: &mut Vec<u8>, address: &IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            for (at, octet) in v4.octets().into_iter().enumerate() {
                if at > 0 {
                    line.push(b'.');
                }
                decimal(line, u64::from(octet));
            }
        }
        IpAddr::V6(_) => display::<escape::Json>(line, address, 48),
    }
}

/// A host as its `Display` has it.
pub(super) fn host<E: Escape>(line: &mut Vec<u8>, host: &Host) {
    /// Names have no more than 255 bytes.
    const ROOM: usize = 256;
    match host {
        Host::Name(name) => drop(escape::text::<E>(line, name.as_bytes(), ROOM)),
        Host::V4(address) => ip(line, &IpAddr::V4(*address)),
        Host::V6(_) => display::<E>(line, host, ROOM),
    }
}

/// What a type has to say of itself, in at most `room` bytes.
pub(super) fn display<E: Escape>(line: &mut Vec<u8>, value: &dyn fmt::Display, room: usize) {
    struct Appender<'a, E> {
        line: &'a mut Vec<u8>,
        room: usize,
        syntax: std::marker::PhantomData<E>,
    }
    impl<E: Escape> fmt::Write for Appender<'_, E> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let before = self.line.len();
            let fits = escape::text::<E>(self.line, text.as_bytes(), self.room);
            self.room -= self.line.len() - before;
            // What follows a mark would look as if it followed the text.
            if fits { Ok(()) } else { Err(fmt::Error) }
        }
    }
    // It fails when there is no more room, and then nothing more is wanted.
    let _ = write!(Appender::<E> { line, room, syntax: std::marker::PhantomData }, "{value}");
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn rfc3339(line: &mut Vec<u8>, at: SystemTime) {
    // The text of the second is kept: most records share it with the one before.
    thread_local! {
        static LAST: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [0; 19])) };
    }
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut second, mut written) = LAST.get();
    if second != since.as_secs() {
        second = since.as_secs();
        written = date_and_time(second);
        LAST.set((second, written));
    }
    line.extend_from_slice(&written);
    let [hundreds, tens, ones] = three_digits(u64::from(since.subsec_millis()));
    line.extend_from_slice(&[b'.', hundreds, tens, ones, b'Z']);
}

/// `10/Oct/2000:13:55:36 +0000`, as the formats of Apache have it.
pub(super) fn clf_time(line: &mut Vec<u8>, at: SystemTime) {
    const MONTHS: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let time = seconds % 86_400;
    digits(line, day, 2);
    line.push(b'/');
    line.extend_from_slice(MONTHS[month as usize - 1]);
    line.push(b'/');
    digits(line, year, 4);
    for value in [time / 3600, time / 60 % 60, time % 60] {
        line.push(b':');
        digits(line, value, 2);
    }
    line.extend_from_slice(b" +0000");
}

/// `1286536308.779`: seconds since 1970, with milliseconds.
pub(super) fn epoch(line: &mut Vec<u8>, at: SystemTime) {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    decimal(line, since.as_secs());
    line.push(b'.');
    digits(line, u64::from(since.subsec_millis()), 3);
}

fn date_and_time(seconds: u64) -> [u8; 19] {
    let (year, month, day) = civil(seconds / 86_400);
    let time = seconds % 86_400;
    let mut text = *b"0000-00-00T00:00:00";
    let parts = [(0, 4, year), (5, 2, month), (8, 2, day), (11, 2, time / 3600), (14, 2, time / 60 % 60)];
    for (start, places, mut value) in parts.into_iter().chain([(17, 2, time % 60)]) {
        for place in text[start..start + places].iter_mut().rev() {
            *place = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
    text
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(append: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut line = Vec::new();
        append(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn times() {
        for (seconds, iso, clf) in [
            (0, "1970-01-01T00:00:00", "01/Jan/1970:00:00:00"),
            (951_827_696, "2000-02-29T12:34:56", "29/Feb/2000:12:34:56"),
            (1_735_689_599, "2024-12-31T23:59:59", "31/Dec/2024:23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00", "01/Mar/2100:00:00:00"),
            (253_402_300_799, "9999-12-31T23:59:59", "31/Dec/9999:23:59:59"),
        ] {
            let at = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(7);
            assert_eq!(text(|line| rfc3339(line, at)), format!("{iso}.007Z"));
            assert_eq!(text(|line| clf_time(line, at)), format!("{clf} +0000"));
            assert_eq!(text(|line| epoch(line, at)), format!("{seconds}.007"));
        }
        assert_eq!(
            text(|line| rfc3339(line, UNIX_EPOCH - Duration::from_secs(1))),
            "1970-01-01T00:00:00.000Z"
        );
    }

    #[test]
    fn numbers() {
        for value in [0, 9, 10, 99, 100, 12_345, u64::MAX] {
            assert_eq!(text(|line| decimal(line, value)), value.to_string());
        }
        assert_eq!(text(|line| digits(line, 1_007, 3)), "007");
    }

    #[test]
    fn addresses_are_as_their_display() {
        for given in
            ["127.0.0.1:80", "255.255.255.255:65535", "[::1]:443", "[::ffff:10.0.0.1]:1", "[fe80::1%7]:9"]
        {
            let parsed: SocketAddr = given.parse().unwrap();
            assert_eq!(text(|line| address(line, &parsed)), parsed.to_string());
            assert_eq!(text(|line| ip(line, &parsed.ip())), parsed.ip().to_string());
        }
    }

    #[test]
    fn what_is_displayed_has_a_bound_and_is_escaped() {
        let shown = text(|line| display::<escape::Json>(line, &format_args!("{}{}\n\"", "ab", 7), 100));
        assert_eq!(shown, "ab7\\n\\\"".replace("\\n", "\\u000a"));
        let long = text(|line| display::<escape::Json>(line, &format_args!("{}{}", "0".repeat(30), 2), 20));
        assert_eq!(long, format!("{}…", "0".repeat(17)));
    }
}
