//! A body on its way through: out of the framing it came in, into the one it leaves in.
//!
//! Content of a known length is not touched: [`Body::content`] says how much of what is there is content. What comes in chunks,
//! or ends with its connection, is written anew by [`Body::pass`], so that the next one never sees anybody else's chunk sizes.
//! Pure: must not know sockets.

use super::{
    framing::{ChunkError, ChunkLimits, ChunkScan, Framing, Piece, ResponseBody},
    hop_by_hop::Nominated,
    onward,
};

/// How a body is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    Plain,
    /// In chunks.
    Chunked,
}

/// Whether trailers are sent on, and in which form.
#[derive(Debug, Default)]
pub struct TrailerRules {
    /// The next one accepts them.
    pub wanted: bool,
    /// These were for us only.
    pub nominated: Nominated,
    /// Names are sent as they were received.
    pub keep_case: bool,
}

/// One body.
#[derive(Debug)]
pub struct Body {
    source: Source,
    coding: Coding,
    trailers: Vec<u8>,
    rules: TrailerRules,
    content: u64,
}

#[derive(Debug)]
enum Source {
    Length(u64),
    /// Boxed, as few bodies are such.
    Chunked(Box<ChunkScan>),
    UntilEnd,
    /// It was complete.
    Done,
}

impl Body {
    /// The body of a request.
    #[must_use]
    pub fn of_request(framing: Framing, rules: TrailerRules) -> Self {
        let (source, coding) = match framing {
            Framing::None | Framing::Length(0) => (Source::Done, Coding::Plain),
            Framing::Length(length) => (Source::Length(length), Coding::Plain),
            Framing::Chunked => (chunked(), Coding::Chunked),
        };
        Self { source, coding, trailers: Vec::new(), rules, content: 0 }
    }

    /// The body of a response, which is sent on in `coding`.
    #[must_use]
    pub fn of_response(body: ResponseBody, coding: Coding, rules: TrailerRules) -> Self {
        let source = match body {
            ResponseBody::None | ResponseBody::Length(0) => Source::Done,
            ResponseBody::Length(length) => Source::Length(length),
            ResponseBody::Chunked => chunked(),
            ResponseBody::UntilClose => Source::UntilEnd,
        };
        Self { source, coding, trailers: Vec::new(), rules, content: 0 }
    }

    /// Whether nothing more belongs to it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.source, Source::Done)
    }

    /// Bytes of content so far, without framing.
    #[must_use]
    pub fn content(&self) -> u64 {
        self.content
    }

    /// How many bytes are sent on as they are from here on, where that is how it is sent on. None: see [`Self::pass`].
    #[must_use]
    pub fn plain_bytes(&self) -> Option<u64> {
        match (&self.source, self.coding) {
            (Source::Length(left), _) => Some(*left),
            (Source::UntilEnd, Coding::Plain) => Some(u64::MAX),
            _ => None,
        }
    }

    /// `count` of them were sent on.
    pub fn sent(&mut self, count: usize) {
        self.content += count as u64;
        if let Source::Length(left) = &mut self.source {
            *left = left.saturating_sub(count as u64);
            if *left == 0 {
                self.source = Source::Done;
            }
        }
    }

    /// Writes what is to be sent on of these bytes; how many of them were taken, which is all while it is not done.
    ///
    /// # Errors
    ///
    /// The chunks are malformed.
    pub fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, ChunkError> {
        match &mut self.source {
            Source::Chunked(scan) => {
                // Looked at twice: what leaves in one chunk has to be counted before it is written.
                let mut ahead = scan.clone();
                let (mut at, mut content) = (0, 0);
                while let Some((piece, length)) = ahead.piece(&bytes[at..])? {
                    at += length;
                    content += if piece == Piece::Data { length } else { 0 };
                }
                self.content += content as u64;
                begin_chunk(out, content, self.coding);
                let mut at = 0;
                while let Some((piece, length)) = scan.piece(&bytes[at..])? {
                    let part = &bytes[at..at + length];
                    match piece {
                        Piece::Data => out.extend_from_slice(part),
                        Piece::Trailers if self.rules.wanted => self.trailers.extend_from_slice(part),
                        Piece::Trailers | Piece::Framing => {}
                    }
                    at += length;
                }
                end_chunk(out, content, self.coding);
                if scan.is_done() {
                    self.finish(out);
                }
                Ok(at)
            }
            Source::UntilEnd => {
                begin_chunk(out, bytes.len(), self.coding);
                out.extend_from_slice(bytes);
                end_chunk(out, bytes.len(), self.coding);
                self.content += bytes.len() as u64;
                Ok(bytes.len())
            }
            Source::Length(_) | Source::Done => Ok(0),
        }
    }

    /// The stream has ended. Whether that completes the body; then what is still to be sent is written.
    pub fn end(&mut self, out: &mut Vec<u8>) -> bool {
        if matches!(self.source, Source::UntilEnd) {
            self.finish(out);
        }
        self.is_done()
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.source = Source::Done;
        if self.coding == Coding::Chunked {
            onward::write_last_chunk(out, &self.trailers, &self.rules.nominated, self.rules.keep_case);
        }
    }
}

fn chunked() -> Source {
    Source::Chunked(Box::new(ChunkScan::new(ChunkLimits::default())))
}

fn begin_chunk(out: &mut Vec<u8>, size: usize, coding: Coding) {
    if coding == Coding::Chunked && size > 0 {
        let mut digits = [0; 16];
        let mut at = digits.len();
        let mut left = size;
        while left > 0 {
            at -= 1;
            digits[at] = b"0123456789abcdef"[left & 15];
            left >>= 4;
        }
        out.extend_from_slice(&digits[at..]);
        out.extend_from_slice(b"\r\n");
    }
}

fn end_chunk(out: &mut Vec<u8>, size: usize, coding: Coding) {
    if coding == Coding::Chunked && size > 0 {
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked_body(coding: Coding, wanted: bool) -> Body {
        let rules = TrailerRules { wanted, ..TrailerRules::default() };
        Body::of_response(ResponseBody::Chunked, coding, rules)
    }

    #[test]
    fn chunks_are_written_anew() {
        let received = b"5;a=b\r\nhello\r\n0001 \r\n!\r\n0\r\nX-Sum: 1\r\nVia: z\r\n\r\nGET";
        for (coding, wanted, expected) in [
            (Coding::Plain, false, "hello!"),
            (Coding::Chunked, false, "6\r\nhello!\r\n0\r\n\r\n"),
            (Coding::Chunked, true, "6\r\nhello!\r\n0\r\nx-sum: 1\r\n\r\n"),
        ] {
            let (mut body, mut out) = (chunked_body(coding, wanted), Vec::new());
            assert_eq!(body.pass(received, &mut out), Ok(received.len() - 3));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
            assert_eq!((body.is_done(), body.content()), (true, 6));
        }
    }

    #[test]
    fn cut_anywhere_the_content_is_the_same() {
        let received = b"5\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n";
        for cut in 1..received.len() {
            let (mut body, mut out) = (chunked_body(Coding::Plain, true), Vec::new());
            assert_eq!(body.pass(&received[..cut], &mut out), Ok(cut));
            assert!(!body.is_done());
            assert_eq!(body.pass(&received[cut..], &mut out), Ok(received.len() - cut));
            assert_eq!((body.is_done(), out.as_slice()), (true, &b"hello!"[..]), "cut at {cut}");
        }
    }

    #[test]
    fn what_ends_with_its_connection_gets_chunks() {
        let mut body = Body::of_response(ResponseBody::UntilClose, Coding::Chunked, TrailerRules::default());
        let mut out = Vec::new();
        assert_eq!(body.pass(b"0123456789abcdefg", &mut out), Ok(17));
        assert!(body.end(&mut out));
        assert_eq!(out, b"11\r\n0123456789abcdefg\r\n0\r\n\r\n");
        assert!(!chunked_body(Coding::Chunked, false).end(&mut Vec::new()), "cut in the middle");
    }

    #[test]
    fn plain_bytes_are_counted() {
        let mut body = Body::of_request(Framing::Length(5), TrailerRules::default());
        assert_eq!(body.plain_bytes(), Some(5));
        body.sent(3);
        assert_eq!((body.plain_bytes(), body.is_done()), (Some(2), false));
        body.sent(2);
        assert_eq!((body.is_done(), body.content()), (true, 5));
        assert!(Body::of_request(Framing::None, TrailerRules::default()).is_done());
    }
}
