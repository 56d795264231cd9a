//! Buffers that a thread's relays share: thousands of idle tunnels have none.

use std::{
    cell::RefCell,
    mem,
    ops::{Deref, DerefMut},
};

/// How much is moved at a time at most. Whoever moves less does not touch the rest of it, which costs no memory then.
pub(super) const BUFFER_SIZE: usize = 128 * 1024;

/// Buffers that a thread keeps for the next bytes.
const POOLED_BUFFERS: usize = 16;

thread_local! {
    static BUFFERS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of [`BUFFER_SIZE`]; goes back to the thread it is dropped on.
pub(super) struct Buffer(Box<[u8]>);

impl Buffer {
    pub(super) fn take() -> Self {
        let pooled = BUFFERS.try_with(|buffers| buffers.borrow_mut().pop()).ok().flatten();
        Self(pooled.unwrap_or_else(|| vec![0; BUFFER_SIZE].into_boxed_slice()))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = mem::take(&mut self.0);
        // A thread that ends has no pool any more.
        let _ = BUFFERS.try_with(|buffers| {
            let mut buffers = buffers.borrow_mut();
            if buffers.len() < POOLED_BUFFERS {
                buffers.push(buffer);
            }
        });
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
