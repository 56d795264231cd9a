//! Bodies whole, byte by byte, and cut in two.

use super::*;

/// Feed in pieces of `step` bytes: bytes consumed in all, and whether it was done.
fn scan(body: &[u8], step: usize, limits: ChunkLimits) -> Result<(usize, ChunkScan), ChunkError> {
    let mut scan = ChunkScan::new(limits);
    let mut consumed = 0;
    for piece in body.chunks(step) {
        let fed = scan.feed(piece)?;
        consumed += fed.consumed;
        assert!(fed.done == scan.is_done() && (fed.done || fed.consumed == piece.len()));
        if fed.done {
            break;
        }
    }
    Ok((consumed, scan))
}

#[track_caller]
fn assert_error(row: &str, body: &[u8], error: ChunkError) {
    for step in [1, 2, 3, 7, body.len()] {
        let found = scan(body, step, ChunkLimits::default()).map(|(consumed, _)| consumed);
        assert_eq!(found, Err(error), "{row} in pieces of {step}");
    }
}

#[test]
fn the_end_is_found_and_nothing_behind_it_taken() {
    let bodies: &[(&[u8], u64, u32)] = &[
        (b"0\r\n\r\n", 0, 0),
        (b"5\r\nhello\r\n0\r\n\r\n", 5, 0),
        (b"a\r\n0\r\n\r\n56789\r\n00\r\n\r\n", 10, 0),
        (b"5;a=b\r\nhello\r\n1 ; x=\"y z\"\r\n!\r\n0;last\r\n\r\n", 6, 0),
        (b"5 \t \r\nhello\r\n0\r\n\r\n", 5, 0),
        (b"0000000000000005\r\nhello\r\n0\r\nX-Sum: 1\r\nEmpty:\r\n\r\n", 5, 2),
    ];
    for (body, data, trailers) in bodies {
        for behind in [b"".as_slice(), b"GET / HTTP/1.1\r\n", b"0\r\n\r\n"] {
            let bytes = [body, behind].concat();
            for step in [1, 2, 3, 5, bytes.len()] {
                let (consumed, scan) = scan(&bytes, step, ChunkLimits::default()).unwrap();
                assert!(scan.is_done());
                assert_eq!((consumed, scan.data_bytes(), scan.trailers()), (body.len(), *data, *trailers));
            }
        }
        for cut in 0..body.len() {
            let (_, scan) = scan(&body[..cut], body.len(), ChunkLimits::default()).unwrap();
            assert!(!scan.is_done(), "C36, C46: cut at {cut}");
        }
    }
}

#[test]
fn what_parsers_take_differently_is_refused_c39() {
    assert_error("C39 overflow", b"FFFFFFFFFFFFFFFFF\r\n", ChunkError::SizeOverflow);
    assert_error("C39 leading zeros", b"00000000000000005\r\nhello\r\n", ChunkError::SizeOverflow);
    assert_error("C39 minus", b"-1\r\n", ChunkError::BadSize);
    assert_error("C39 plus", b"+1\r\n", ChunkError::BadSize);
    assert_error("C39 0x", b"0x5\r\n", ChunkError::BadSize);
    assert_error("C39 space before", b" 5\r\n", ChunkError::BadSize);
    assert_error("C39 empty", b"\r\n", ChunkError::BadSize);
    assert_error("C39 two numbers", b"5 5\r\n", ChunkError::BadSize);
    assert_error("C39 LF only", b"5\nhello\r\n", ChunkError::BadLineEnd);
    assert_error("C39 LF after space", b"5 \nhello\r\n", ChunkError::BadLineEnd);
    assert_error("C39 LF in extension", b"5;a\nhello\r\n", ChunkError::BadLineEnd);
    assert_error("C39 CR in extension", b"5;a\rb\r\nhello", ChunkError::BadLineEnd);
    assert_error("C39 NUL in extension", b"5;a\0\r\nhello", ChunkError::BadExtension);
    assert_error("C39 CR only", b"5\rhello\r\n", ChunkError::BadLineEnd);
    assert_error("data too long", b"5\r\nhello!\r\n", ChunkError::DataTooLong);
    assert_error("data ends in LF", b"5\r\nhello\n0\r\n\r\n", ChunkError::BadLineEnd);
    assert_error("data ends in CR", b"5\r\nhello\r0\r\n\r\n", ChunkError::BadLineEnd);
    assert_error("end in LF", b"0\r\n\n", ChunkError::BadLineEnd);
    assert_error("end in CR", b"0\r\n\rX", ChunkError::BadLineEnd);
    assert_error("folded trailer", b"0\r\nA: 1\r\n b\r\n\r\n", ChunkError::BadTrailer);
    assert_error("space before colon", b"0\r\nA : 1\r\n\r\n", ChunkError::BadTrailer);
    assert_error("no colon", b"0\r\nGET / HTTP/1.1\r\n\r\n", ChunkError::BadTrailer);
    assert_error("LF in trailer", b"0\r\nA: 1\nB: 2\r\n\r\n", ChunkError::BadLineEnd);
    assert_error("CR in trailer", b"0\r\nA: 1\rB: 2\r\n\r\n", ChunkError::BadLineEnd);
    assert_error("NUL in trailer", b"0\r\nA: \0\r\n\r\n", ChunkError::BadTrailer);
}

#[test]
fn what_is_not_data_is_bounded_c39() {
    let long = [b"5;".as_slice(), &vec![b'a'; 1 << 20], b"\r\nhello"].concat();
    assert_eq!(
        scan(&long, 4096, ChunkLimits::default()).map(|_| ()),
        Err(ChunkError::ExtensionsTooLong),
        "C39"
    );
    let many = b"1;abcdefghi\r\n!\r\n".repeat(2000);
    assert_eq!(
        scan(&many, 4096, ChunkLimits::default()).map(|_| ()),
        Err(ChunkError::ExtensionsTooLong),
        "C39"
    );
    let limits = ChunkLimits { trailers: 2, trailer_bytes: 20, ..ChunkLimits::default() };
    let scan_with = |body: &[u8]| scan(body, 3, limits).map(|(_, scan)| scan.is_done());
    assert_eq!(scan_with(b"0\r\nA:1\r\nB:2\r\n\r\n"), Ok(true));
    assert_eq!(scan_with(b"0\r\nA:1\r\nB:2\r\nC:3\r\n\r\n"), Err(ChunkError::TrailersTooLong));
    assert_eq!(scan_with(b"0\r\nA:1234567890123456789\r\n\r\n"), Err(ChunkError::TrailersTooLong));
}
