//! Headers as balancers send them, and what is none.

use super::*;

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [v2::SIGNATURE, &[command, family], &length, rest].concat()
}

/// From 192.0.2.7:1025 to 198.51.100.1:443.
const V4: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 4, 1, 1, 187];

fn client(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

/// Every beginning of a header is one that is not complete, and what follows is no part of it.
#[track_caller]
fn expect(header: &[u8], client: Option<SocketAddr>) {
    for end in 0..header.len() {
        assert_eq!(parse(&header[..end]), Ok(None), "{end} bytes of {}", header.escape_ascii());
    }
    for behind in [&b""[..], b"GET ", b"\n", b"\r\n\r\n\0\r\nQUIT\n"] {
        let found = parse(&[header, behind].concat()).unwrap().unwrap();
        assert_eq!((found.client, found.length), (client, header.len()), "{}", header.escape_ascii());
        assert_eq!(found.destination.is_some(), client.is_some(), "{}", header.escape_ascii());
    }
}

#[test]
fn c82_lines_of_version_1() {
    expect(b"PROXY TCP4 192.0.2.7 198.51.100.1 1025 443\r\n", client("192.0.2.7:1025"));
    expect(b"PROXY TCP4 192.0.2.7 198.51.100.1 0 65535\r\n", client("192.0.2.7:0"));
    expect(b"PROXY TCP6 2001:db8::7 ::1 1025 443\r\n", client("[2001:db8::7]:1025"));
    expect(b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", client("[::ffff:192.0.2.7]:1"));
    expect(b"PROXY UNKNOWN\r\n", None);
    expect(b"PROXY UNKNOWN whatever it says 1 2 3\r\n", None);
    let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY UNKNOWN {full} {full} 65535 65535\r\n");
    assert_eq!(longest.len(), 107);
    expect(longest.as_bytes(), None);
}

#[test]
fn c82_what_is_no_line_of_version_1() {
    use HeaderError::{Line, Malformed, Missing};
    let endless = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    assert_eq!(endless.len(), 108);
    for (bytes, error) in [
        (&b"GET / HTTP/1.1\r\n"[..], Missing),
        (b"proxy TCP4 192.0.2.7 198.51.100.1 1 2\r\n", Missing),
        (b"PROXY\tTCP4", Missing),
        (b"PROXY\r\n", Missing),
        (b"\x16\x03\x01", Missing),
        (b"PROXY \r\n", Malformed),
        (b"PROXY TCP4\r\n", Malformed),
        (b"PROXY TCP5 192.0.2.7 198.51.100.1 1 2\r\n", Malformed),
        (b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n", Malformed),
        (b"PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 \r\n", Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1  2\r\n", Malformed),
        (b"PROXY TCP4 192.0.2 198.51.100.1 1 2\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.7 host 1 2\r\n", Malformed),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n", Malformed),
        (b"PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n", Malformed),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", Malformed),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n", Line),
        (b"PROXY TCP4 192.0.2.7\0", Malformed),
        (b"PROXY UNKNOWN \r ", Malformed),
        (endless.as_bytes(), Line),
        (&endless.as_bytes()[..107], Line),
    ] {
        assert_eq!(parse(bytes), Err(error), "{}", bytes.escape_ascii());
    }
}

#[test]
fn c82_headers_of_version_2() {
    let v6: Vec<u8> = [&[0x20, 1, 0xd, 0xb8], &[0; 11][..], &[7], &[0; 15], &[1], &[4, 1, 1, 187]].concat();
    let extended = |more: &[u8]| v2(0x21, 0x11, &[V4, more].concat());
    expect(&v2(0x21, 0x11, V4), client("192.0.2.7:1025"));
    expect(&v2(0x21, 0x21, &v6), client("[2001:db8::7]:1025"));
    // Extensions of any kind are passed over: an authority, a no-op, one that nobody knows and one that is empty.
    expect(&extended(b"\x02\0\x03a.b\x04\0\x01\0\xee\0\x02xx\x01\0\0"), client("192.0.2.7:1025"));
    // LOCAL is a health check of the balancer itself, whatever else it says.
    for rest in [&b""[..], V4, b"junk"] {
        expect(&v2(0x20, 0x00, rest), None);
        expect(&v2(0x20, 0x11, rest), None);
    }
    expect(&v2(0x21, 0x00, b"junk"), None);
    expect(&v2(0x21, 0x31, &[b'/'; 216]), None);
    expect(&v2(0x20, 0x00, &[0; 4096]), None);
    assert_eq!(LENGTH_MAX, v2(0x20, 0x00, &[0; 4096]).len());
}

#[test]
fn c82_what_is_no_header_of_version_2() {
    use HeaderError::{Checksum, Command, Extensions, Family, Length, Missing};
    let extended = |more: &[u8]| v2(0x21, 0x11, &[V4, more].concat());
    for (bytes, error) in [
        (v2(0x11, 0x11, V4), Command),
        (v2(0x31, 0x11, V4), Command),
        (v2(0x22, 0x11, V4), Command),
        (v2(0x21, 0x12, V4), Family),
        (v2(0x21, 0x10, V4), Family),
        (v2(0x21, 0x01, V4), Family),
        (v2(0x21, 0x41, V4), Family),
        (v2(0x21, 0x11, &V4[1..]), Length),
        (v2(0x21, 0x21, V4), Length),
        (v2(0x20, 0x00, &[0; 4097]), Length),
        (extended(b"\x02"), Extensions),
        (extended(b"\x02\0\x05abcd"), Extensions),
        (extended(b"\x03\0\x04\0\0\0\0"), Checksum),
        (extended(b"\x03\0\x03\0\0\0"), Checksum),
        (b"\r\n\r\n\0\r\nQUIX\n".to_vec(), Missing),
    ] {
        assert_eq!(parse(&bytes), Err(error), "{}", bytes.escape_ascii());
    }
    // Nothing that is wrong is waited for.
    assert_eq!(parse(&v2(0x21, 0x12, V4)[..14]), Err(Family));
    assert_eq!(parse(&v2(0x20, 0x00, &[0; 4097])[..16]), Err(Length));
}

#[test]
fn c82_a_checksum_is_verified() {
    let with = |sum: u32| {
        let tail = [&[3, 0, 4], &sum.to_be_bytes()[..], &[4, 0, 1, 0]].concat();
        v2(0x21, 0x11, &[V4, &tail].concat())
    };
    let right = checksum::crc32c(with(0).iter());
    expect(&with(right), client("192.0.2.7:1025"));
    assert_eq!(parse(&with(right ^ 1)), Err(HeaderError::Checksum));
    let mut changed = with(right);
    changed[16] = 10;
    assert_eq!(parse(&changed), Err(HeaderError::Checksum));
}

#[test]
fn what_is_written_is_read() {
    for (from, to, seen, reached) in [
        ("192.0.2.7:1025", "198.51.100.1:443", "192.0.2.7:1025", "198.51.100.1:443"),
        ("[2001:db8::7]:1025", "[2001:db8::1]:443", "[2001:db8::7]:1025", "[2001:db8::1]:443"),
        ("[::ffff:192.0.2.7]:1025", "198.51.100.1:443", "192.0.2.7:1025", "198.51.100.1:443"),
        ("192.0.2.7:1025", "[2001:db8::1]:443", "[::ffff:192.0.2.7]:1025", "[2001:db8::1]:443"),
    ] {
        for version in [Version::V1, Version::V2] {
            let mut bytes = Vec::new();
            write(version, from.parse().unwrap(), to.parse().unwrap(), &mut bytes);
            expect(&bytes, client(seen));
            assert_eq!(parse(&bytes).unwrap().unwrap().destination, client(reached));
        }
    }
    for version in [Version::V1, Version::V2] {
        let mut bytes = Vec::new();
        write_own(version, &mut bytes);
        expect(&bytes, None);
    }
    let mut line = Vec::new();
    write(Version::V1, "192.0.2.7:1025".parse().unwrap(), "198.51.100.1:443".parse().unwrap(), &mut line);
    assert_eq!(line, b"PROXY TCP4 192.0.2.7 198.51.100.1 1025 443\r\n");
}
