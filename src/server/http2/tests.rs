//! Streams as a client sees them.
