//! `ca create`: an authority of one's own, for `interception`. Nothing that exists is overwritten, and nobody else can read its key.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
    time::SystemTime,
};

use super::{Failure, code};
use crate::{cli::AuthorityFiles, net::tls::issuer::create_authority};

pub(super) fn create(wanted: &AuthorityFiles) -> Result<u8, Failure> {
    let failed = |path: &Path, error: &io::Error| {
        let text = match error.kind() {
            io::ErrorKind::AlreadyExists => format!("{} exists, and is not overwritten", path.display()),
            _ => format!("{} cannot be written: {error}", path.display()),
        };
        Failure::new(code::FAILURE, text)
    };
    let (certificate, key) = create_authority(&wanted.name, SystemTime::now())
        .map_err(|error| Failure::new(code::FAILURE, error))?;
    // Both are there before anything is written: half an authority is of no use to anybody.
    let mut key_file = new(&wanted.key, 0o600).map_err(|error| failed(&wanted.key, &error))?;
    let written = new(&wanted.cert, 0o644)
        .and_then(|mut file| file.write_all(certificate.as_bytes()).and_then(|()| file.sync_all()));
    if let Err(error) = written {
        let _ = fs::remove_file(&wanted.key);
        return Err(failed(&wanted.cert, &error));
    }
    key_file
        .write_all(key.as_bytes())
        .and_then(|()| key_file.sync_all())
        .map_err(|error| failed(&wanted.key, &error))?;
    let said = writeln!(
        io::stdout(),
        "{} is to be trusted by clients; {} must never leave this host\n\
         interception: {{ hosts: [], ca_cert_path: {:?}, ca_key_path: {:?} }}",
        wanted.cert.display(),
        wanted.key.display(),
        wanted.cert,
        wanted.key
    );
    said.map(|()| code::OK).map_err(|error| Failure::new(code::FAILURE, error))
}

/// A file that was not there, with these permissions where the system has them.
fn new(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(mode);
    }
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)
}
