//! Where a child cannot be held by a descriptor, none is adopted: the launcher is not succeeded there.

use std::{convert::Infallible, io};

use super::Status;

/// There is none.
#[derive(Debug)]
pub(in crate::supervisor) struct Adopted(Infallible);

impl Adopted {
    pub(super) fn new(_: u32) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn pid(&self) -> Option<u32> {
        match self.0 {}
    }

    pub(super) async fn wait(&mut self) -> Status {
        match self.0 {}
    }

    pub(super) fn kill(&self) {
        match self.0 {}
    }
}
