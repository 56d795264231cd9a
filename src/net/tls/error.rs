//! Why there is no TLS with a peer.

use std::io;

use thiserror::Error;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

/// A handshake that has failed, or a stream that TLS has ended.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate of the peer is not to be trusted, or there is none.
    #[error("the certificate {0}")]
    Certificate(&'static str),
    /// The peer says that something is wrong.
    #[error("the other side has ended TLS: alert {0} ({name})", name = alert_name(*.0))]
    Alert(u8),
    /// What the peer says is no TLS, or none that we speak.
    #[error("TLS failed: {0}")]
    Protocol(String),
    /// The connection broke.
    #[error("the connection was closed inside the TLS handshake")]
    Closed,
    /// The host cannot be named in TLS.
    #[error("no certificate can be for such a host")]
    Name,
    /// We are not able to, for what the configuration says.
    #[error("TLS is not set up: {0}")]
    Setup(String),
}

impl TlsError {
    /// What TLS says in an error of a stream; none when TLS has nothing to do with it.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<rustls::Error>().map(Self::from)
    }

    /// The same of a handshake, of which everything else is the end.
    pub(super) fn of_handshake(error: &io::Error) -> Self {
        Self::of(error).unwrap_or(Self::Closed)
    }
}

impl From<&rustls::Error> for TlsError {
    fn from(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => Self::Certificate(certificate(error)),
            rustls::Error::NoCertificatesPresented => Self::Certificate("is missing"),
            rustls::Error::AlertReceived(alert) => Self::Alert((*alert).into()),
            other => Self::Protocol(other.to_string()),
        }
    }
}

/// Without what the certificate says: it may be long, and somebody else has written it.
fn certificate(error: &CertificateError) -> &'static str {
    use CertificateError as Error;
    match error {
        Error::Expired | Error::ExpiredContext { .. } => "has expired",
        Error::NotValidYet | Error::NotValidYetContext { .. } => "is not valid yet",
        Error::NotValidForName | Error::NotValidForNameContext { .. } => "is for another name",
        Error::UnknownIssuer => "is signed by nobody who is trusted",
        Error::Revoked => "was revoked",
        Error::BadSignature => "has a wrong signature",
        Error::BadEncoding => "is malformed",
        Error::InvalidPurpose | Error::InvalidPurposeContext { .. } => "is for another purpose",
        Error::ApplicationVerificationFailure => "names nobody",
        Error::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "is that of an authority (CA:TRUE), which no server may have"
        }
        _ => "is not accepted",
    }
}

/// The name of an alert in the registry of IANA, as `Proxy-Status` has it (RFC 9209 section 2.3.15).
#[must_use]
pub fn alert_name(alert: u8) -> &'static str {
    use AlertDescription as Alert;
    match Alert::from(alert) {
        Alert::CloseNotify => "close_notify",
        Alert::UnexpectedMessage => "unexpected_message",
        Alert::BadRecordMac => "bad_record_mac",
        Alert::RecordOverflow => "record_overflow",
        Alert::HandshakeFailure => "handshake_failure",
        Alert::BadCertificate => "bad_certificate",
        Alert::UnsupportedCertificate => "unsupported_certificate",
        Alert::CertificateRevoked => "certificate_revoked",
        Alert::CertificateExpired => "certificate_expired",
        Alert::CertificateUnknown => "certificate_unknown",
        Alert::IllegalParameter => "illegal_parameter",
        Alert::UnknownCA => "unknown_ca",
        Alert::AccessDenied => "access_denied",
        Alert::DecodeError => "decode_error",
        Alert::DecryptError => "decrypt_error",
        Alert::ProtocolVersion => "protocol_version",
        Alert::InsufficientSecurity => "insufficient_security",
        Alert::InternalError => "internal_error",
        Alert::UserCanceled => "user_canceled",
        Alert::MissingExtension => "missing_extension",
        Alert::UnsupportedExtension => "unsupported_extension",
        Alert::UnrecognisedName => "unrecognized_name",
        Alert::CertificateRequired => "certificate_required",
        Alert::NoApplicationProtocol => "no_application_protocol",
        _ => "unknown",
    }
}
