//! A walk over a chunked body that keeps nothing of it (RFC 9112 7.1).
//!
//! It says what each byte is and where the body ends, and refuses what parsers take differently. Must not know requests from
//! responses. Lines end in CRLF and in nothing else; everything that is not chunk data is bounded.

use super::super::list::is_tchar;

/// How much may stand around the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Bytes between a chunk size and the end of its line, over all chunks of the body.
    pub extension_bytes: u32,
    /// Bytes of the trailer section.
    pub trailer_bytes: u32,
    /// Lines of the trailer section.
    pub trailers: u32,
}

impl Default for ChunkLimits {
    /// More than anybody needs.
    fn default() -> Self {
        Self { extension_bytes: 16_000, trailer_bytes: 16_000, trailers: 100 }
    }
}

/// Why a chunked body cannot be followed. The connection cannot go on after any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// No hexadecimal digit where a size has to begin, or something else than a line's end or extension after it.
    #[error("malformed chunk size")]
    BadSize,
    /// More than 16 digits.
    #[error("chunk size of more than 16 digits")]
    SizeOverflow,
    /// A control byte, a bare CR or LF.
    #[error("malformed chunk extension")]
    BadExtension,
    /// See [`ChunkLimits::extension_bytes`].
    #[error("chunk extensions too long")]
    ExtensionsTooLong,
    /// CR without LF or LF without CR.
    #[error("line in a chunked body does not end in CRLF")]
    BadLineEnd,
    /// Chunk data goes on where its size says that it ends.
    #[error("chunk data longer than its size")]
    DataTooLong,
    /// Not `name: value`, or folded.
    #[error("malformed trailer field")]
    BadTrailer,
    /// See [`ChunkLimits::trailer_bytes`] and [`ChunkLimits::trailers`].
    #[error("trailer section too long")]
    TrailersTooLong,
}

/// What became of the bytes fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed {
    /// So many of them, from the first on, belong to the body. All, unless it is done.
    pub consumed: usize,
    /// The body is complete.
    pub done: bool,
}

/// What bytes of a chunked body are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Chunk data.
    Data,
    /// Sizes, extensions, and the ends of lines.
    Framing,
    /// The trailer section and its empty line.
    Trailers,
}

/// The state of one body.
#[derive(Clone, Debug)]
pub struct ChunkScan {
    state: State,
    limits: ChunkLimits,
    /// Of the current chunk: its size while it is read, then what is left of its data.
    size: u64,
    digits: u8,
    data: u64,
    extension_bytes: u32,
    trailer_bytes: u32,
    trailers: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    SizeSpace,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

impl ChunkScan {
    /// At the first byte of a body.
    pub const fn new(limits: ChunkLimits) -> Self {
        Self {
            state: State::Size,
            limits,
            size: 0,
            digits: 0,
            data: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
            trailers: 0,
        }
    }

    /// Walk over the next bytes. Chunk data costs one step, however long.
    ///
    /// # Errors
    /// At the first byte that cannot stand there; feeding more after that is meaningless.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Fed, ChunkError> {
        let mut at = 0;
        while let Some((_, length)) = self.piece(&bytes[at..])? {
            at += length;
        }
        Ok(Fed { consumed: at, done: self.state == State::Done })
    }

    /// Walk over the bytes that are of one kind, and say which and how many. None when there are no more bytes, or the body
    /// is complete.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn piece(&mut self, bytes: &[u8]) -> Result<Option<(Piece, usize)>, ChunkError> {
        if bytes.is_empty() || self.state == State::Done {
            return Ok(None);
        }
        if self.state == State::Data {
            let here = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len());
            self.size -= here as u64;
            if self.size == 0 {
                self.state = State::DataCr;
            }
            return Ok(Some((Piece::Data, here)));
        }
        let kind = self.kind();
        let mut at = 0;
        while at < bytes.len() && self.kind() == kind {
            self.state = self.step(bytes[at])?;
            at += 1;
        }
        Ok(Some((kind, at)))
    }

    /// Whether the next byte is chunk data.
    pub fn is_in_data(&self) -> bool {
        self.state == State::Data
    }

    fn kind(&self) -> Piece {
        match self.state {
            State::Data | State::Done => Piece::Data,
            State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::EndLf => Piece::Trailers,
            State::Size
            | State::SizeSpace
            | State::Extension
            | State::SizeLf
            | State::DataCr
            | State::DataLf => Piece::Framing,
        }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of data in the chunks announced so far, in other words without framing.
    pub const fn data_bytes(&self) -> u64 {
        self.data
    }

    /// Trailer lines seen so far.
    pub const fn trailers(&self) -> u32 {
        self.trailers
    }

    fn step(&mut self, byte: u8) -> Result<State, ChunkError> {
        match self.state {
            State::Size => self.size_byte(byte),
            State::SizeSpace | State::Extension => self.extension_byte(byte),
            State::SizeLf => {
                expect(byte, b'\n')?;
                self.data = self.data.saturating_add(self.size);
                self.digits = 0;
                Ok(if self.size == 0 { State::TrailerStart } else { State::Data })
            }
            State::DataCr if byte != b'\r' && byte != b'\n' => Err(ChunkError::DataTooLong),
            State::DataCr => expect(byte, b'\r').map(|()| State::DataLf),
            State::DataLf => expect(byte, b'\n').map(|()| State::Size),
            State::TrailerStart if byte == b'\r' => Ok(State::EndLf),
            State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerLf => {
                self.trailer_byte(byte)
            }
            State::EndLf => expect(byte, b'\n').map(|()| State::Done),
            // `feed` does not come here in these.
            State::Data | State::Done => Ok(self.state),
        }
    }

    fn size_byte(&mut self, byte: u8) -> Result<State, ChunkError> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if self.digits == 16 {
                return Err(ChunkError::SizeOverflow);
            }
            self.digits += 1;
            self.size = self.size << 4 | u64::from(digit);
            return Ok(State::Size);
        }
        if self.digits == 0 {
            return Err(ChunkError::BadSize);
        }
        match byte {
            b'\r' => Ok(State::SizeLf),
            b'\n' => Err(ChunkError::BadLineEnd),
            b';' | b' ' | b'\t' => {
                self.state = State::SizeSpace;
                self.extension_byte(byte)
            }
            _ => Err(ChunkError::BadSize),
        }
    }

    /// Extensions mean nothing to anybody, and are only bounded. Some origins pad sizes with spaces.
    fn extension_byte(&mut self, byte: u8) -> Result<State, ChunkError> {
        if byte == b'\r' {
            return Ok(State::SizeLf);
        }
        self.extension_bytes += 1;
        if self.extension_bytes > self.limits.extension_bytes {
            return Err(ChunkError::ExtensionsTooLong);
        }
        match (self.state, byte) {
            (State::SizeSpace, b' ' | b'\t') => Ok(State::SizeSpace),
            (State::SizeSpace, b';') => Ok(State::Extension),
            (_, b'\n') => Err(ChunkError::BadLineEnd),
            (State::SizeSpace, _) => Err(ChunkError::BadSize),
            (_, _) if is_text(byte) => Ok(State::Extension),
            (_, _) => Err(ChunkError::BadExtension),
        }
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > self.limits.trailer_bytes {
            return Err(ChunkError::TrailersTooLong);
        }
        match self.state {
            State::TrailerStart if is_tchar(byte) => {
                self.trailers += 1;
                if self.trailers > self.limits.trailers {
                    return Err(ChunkError::TrailersTooLong);
                }
                Ok(State::TrailerName)
            }
            State::TrailerName if byte == b':' => Ok(State::TrailerValue),
            State::TrailerName if is_tchar(byte) => Ok(State::TrailerName),
            State::TrailerValue if byte == b'\r' => Ok(State::TrailerLf),
            State::TrailerValue if is_text(byte) => Ok(State::TrailerValue),
            State::TrailerLf if byte == b'\n' => Ok(State::TrailerStart),
            State::TrailerLf => Err(ChunkError::BadLineEnd),
            _ if byte == b'\n' => Err(ChunkError::BadLineEnd),
            _ => Err(ChunkError::BadTrailer),
        }
    }
}

fn expect(byte: u8, expected: u8) -> Result<(), ChunkError> {
    if byte == expected { Ok(()) } else { Err(ChunkError::BadLineEnd) }
}

/// What may stand in a field value: no control byte but HTAB.
const fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests;
