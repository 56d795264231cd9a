//! The time, as `Date` says it (RFC 9110 section 5.6.7): written once a second.

use std::{
    cell::Cell,
    time::{SystemTime, UNIX_EPOCH},
};

/// Now.
pub(super) fn now() -> [u8; 29] {
    thread_local! {
        static LAST: Cell<(u64, [u8; 29])> = const { Cell::new((u64::MAX, [0; 29])) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (last, written) = LAST.get();
    if last == second {
        return written;
    }
    let mut text = [b' '; 29];
    for (place, byte) in text.iter_mut().zip(httpdate::fmt_http_date(now).bytes()) {
        *place = byte;
    }
    LAST.set((second, text));
    text
}
