//! A file without a name, for memory that is handed to other processes by its descriptor.

use std::{fs::File, io};

/// An empty file that nobody else can open, and that no child inherits.
///
/// # Errors
///
/// The operating system's.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub fn nameless_file() -> io::Result<File> {
    use rustix::fs::MemfdFlags;
    Ok(rustix::fs::memfd_create("rust-forward-proxy", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?
        .into())
}

/// Nobody can change the length of the file any more: what is mapped stays there.
///
/// # Errors
///
/// The operating system's; it is no [`nameless_file`].
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(super) fn seal(file: &File) -> io::Result<()> {
    use rustix::fs::SealFlags;
    Ok(rustix::fs::fcntl_add_seals(file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?)
}

/// An empty file that has lost its name.
///
/// # Errors
///
/// The operating system's.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub fn nameless_file() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("rust-forward-proxy-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Such a file can always be made shorter, by those only who have its descriptor.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(super) fn seal(_: &File) -> io::Result<()> {
    Ok(())
}
