//! The few things that we have to know of a certificate and that nobody else tells: when it is valid, whom it names, and
//! whether it may sign others.
//!
//! A reader of DER that knows no more than the way there (RFC 5280 section 4.1). It decides nothing: whoever is trusted was
//! verified by others. Invariant: no input makes it panic; what is not as it should be is none.

use super::certificate::Validity;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const IA5: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// 2.5.4.3, id-at-commonName.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// 2.5.29.19, id-ce-basicConstraints.
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

/// The longest name that is somebody's.
const MAX_NAME: usize = 255;

/// When it is valid, if that can be read.
#[must_use]
pub fn validity(certificate: &[u8]) -> Option<Validity> {
    let mut dates = fields(certificate)?.validity;
    let from = time(dates.next()?)?;
    let until = time(dates.next()?)?;
    Some(Validity { from, until })
}

/// The common name of its subject, the last one where there are several: 1 to 255 bytes, without control characters and without
/// space around it.
#[must_use]
pub fn common_name(certificate: &[u8]) -> Option<&str> {
    let mut found = None;
    let mut names = fields(certificate)?.subject;
    while let Some((SET, set)) = names.next() {
        let mut set = Reader(set);
        while let Some((SEQUENCE, attribute)) = set.next() {
            let mut attribute = Reader(attribute);
            if attribute.next() == Some((OID, COMMON_NAME))
                && let Some((UTF8 | PRINTABLE | IA5, value)) = attribute.next()
            {
                found = Some(value);
            }
        }
    }
    let name = str::from_utf8(found?).ok()?;
    let is_name =
        (1..=MAX_NAME).contains(&name.len()) && name.trim() == name && !name.chars().any(char::is_control);
    is_name.then_some(name)
}

/// Whether it is that of an authority: its basic constraints say so (RFC 5280 section 4.2.1.9).
#[must_use]
pub fn is_authority(certificate: &[u8]) -> bool {
    constraints(certificate).and_then(|mut constraints| constraints.next()) == Some((BOOLEAN, &[0xff]))
}

fn constraints(certificate: &[u8]) -> Option<Reader<'_>> {
    let mut behind = fields(certificate)?.behind;
    behind.expect(SEQUENCE)?;
    let mut extensions = loop {
        if let (EXTENSIONS, extensions) = behind.next()? {
            break Reader(extensions).expect(SEQUENCE)?;
        }
    };
    loop {
        let mut extension = extensions.expect(SEQUENCE)?;
        if extension.next()? != (OID, BASIC_CONSTRAINTS) {
            continue;
        }
        let (mut tag, mut value) = extension.next()?;
        if tag == BOOLEAN {
            (tag, value) = extension.next()?;
        }
        return (tag == OCTET_STRING).then_some(Reader(value))?.expect(SEQUENCE);
    }
}

struct Fields<'a> {
    validity: Reader<'a>,
    subject: Reader<'a>,
    /// The key of the subject, and what follows that.
    behind: Reader<'a>,
}

fn fields(certificate: &[u8]) -> Option<Fields<'_>> {
    let mut signed = Reader(certificate).expect(SEQUENCE)?;
    let mut inner = signed.expect(SEQUENCE)?;
    if inner.0.first() == Some(&VERSION) {
        inner.next()?;
    }
    inner.expect(INTEGER)?;
    inner.expect(SEQUENCE)?;
    inner.expect(SEQUENCE)?;
    let (validity, subject) = (inner.expect(SEQUENCE)?, inner.expect(SEQUENCE)?);
    Some(Fields { validity, subject, behind: inner })
}

/// What is left of a value of values.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The tag and the content of the next one.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, length], mut rest) = self.0.split_first_chunk()?;
        let length = match length {
            0..=0x7f => usize::from(length),
            0x81..=0x83 => {
                let (digits, behind) = rest.split_at_checked(usize::from(length & 0x0f))?;
                rest = behind;
                digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, tag: u8) -> Option<Self> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| Self(content))
    }
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 section 4.1.2.5).
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let text = text.strip_suffix(b"Z")?;
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    let (year, rest) = match (tag, text.len()) {
        (UTC_TIME, 12) => {
            let year = number(&text[..2]);
            (if year < 50 { 2000 + year } else { 1900 + year }, &text[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&text[..4]), &text[4..]),
        _ => return None,
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&rest[at..at + 2]));
    let is_time =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    is_time.then(|| days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days from 1970-01-01 of the Gregorian calendar, whose years begin in March here, so that a leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month < 3);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(["a.test".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn when_it_is_valid() {
        let certificate = made(|params| {
            params.not_before = date_time_ymd(1999, 12, 31);
            params.not_after = date_time_ymd(2096, 2, 29);
        });
        let expected = Validity { from: 946_598_400, until: 3_981_312_000 };
        assert_eq!(validity(&certificate), Some(expected));
        assert_eq!(time((UTC_TIME, b"700101000001Z")), Some(1));
        assert_eq!(time((GENERALIZED_TIME, b"20000301000000Z")), Some(951_868_800));
        for bad in ["7001010000Z", "701301000000Z", "70010100000xZ", "700101000000"] {
            assert_eq!(time((UTC_TIME, bad.as_bytes())), None, "{bad}");
        }
    }

    #[test]
    fn whom_it_names() {
        let named = |name: &str| {
            let certificate = made(|params| {
                params.distinguished_name.push(DnType::OrganizationName, "Example");
                params.distinguished_name.push(DnType::CommonName, name);
            });
            common_name(&certificate).map(str::to_owned)
        };
        assert_eq!(named("ann@example.com").as_deref(), Some("ann@example.com"));
        assert_eq!(named("b\u{f6}b").as_deref(), Some("b\u{f6}b"));
        for bad in ["", " ann", "a\nb", &"x".repeat(256)] {
            assert_eq!(named(bad), None, "{bad}");
        }
        assert_eq!(common_name(&made(|_| {})), None);
    }

    #[test]
    fn who_may_sign() {
        use rcgen::{BasicConstraints, IsCa};
        assert!(!is_authority(&made(|_| {})));
        assert!(!is_authority(&made(|params| params.is_ca = IsCa::ExplicitNoCa)));
        for constraints in [BasicConstraints::Unconstrained, BasicConstraints::Constrained(0)] {
            assert!(is_authority(&made(|params| params.is_ca = IsCa::Ca(constraints))));
        }
    }

    #[test]
    fn nothing_makes_it_panic() {
        let certificate = made(|params| params.distinguished_name.push(DnType::CommonName, "ann"));
        for end in 0..certificate.len() {
            assert_eq!(common_name(&certificate[..end]), None);
        }
        for at in 0..certificate.len() {
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut other = certificate.clone();
                other[at] = byte;
                let _ = (common_name(&other), validity(&other), is_authority(&other));
            }
        }
    }
}
