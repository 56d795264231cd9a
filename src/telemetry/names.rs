//! Words that logs, metrics and answers share.

/// What went wrong, by the names of RFC 9209 section 2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ProxyErrorType {
    /// The name servers did not answer in time.
    DnsTimeout,
    /// The name servers say no, or cannot say.
    DnsError,
    /// No way to the destination is known.
    DestinationNotFound,
    /// The destination is out of service.
    DestinationUnavailable,
    /// The address is not to be reached.
    DestinationIpProhibited,
    /// There is no route to the address.
    DestinationIpUnroutable,
    /// The destination refused the connection.
    ConnectionRefused,
    /// The connection ended before the response.
    ConnectionTerminated,
    /// The connection was not made in time.
    ConnectionTimeout,
    /// Nothing was read from it in time.
    ConnectionReadTimeout,
    /// Nothing was written to it in time.
    ConnectionWriteTimeout,
    /// There are too many connections.
    ConnectionLimitReached,
    /// TLS failed by its protocol.
    TlsProtocolError,
    /// The certificate is not to be trusted.
    TlsCertificateError,
    /// The other side sent an alert.
    TlsAlertReceived,
    /// The request cannot be acted on.
    HttpRequestError,
    /// A rule refuses the request.
    HttpRequestDenied,
    /// The response ended early.
    HttpResponseIncomplete,
    /// The response's fields are too large.
    HttpResponseHeaderSectionSize,
    /// The response did not come in time.
    HttpResponseTimeout,
    /// The protocol was not switched as asked.
    HttpUpgradeFailed,
    /// The response is not HTTP.
    HttpProtocolError,
    /// The answer is our own.
    ProxyInternalResponse,
    /// We failed.
    ProxyInternalError,
    /// Our configuration is wrong for it.
    ProxyConfigurationError,
    /// The request came back to us.
    ProxyLoopDetected,
}

impl ProxyErrorType {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 26] = [
        Self::DnsTimeout,
        Self::DnsError,
        Self::DestinationNotFound,
        Self::DestinationUnavailable,
        Self::DestinationIpProhibited,
        Self::DestinationIpUnroutable,
        Self::ConnectionRefused,
        Self::ConnectionTerminated,
        Self::ConnectionTimeout,
        Self::ConnectionReadTimeout,
        Self::ConnectionWriteTimeout,
        Self::ConnectionLimitReached,
        Self::TlsProtocolError,
        Self::TlsCertificateError,
        Self::TlsAlertReceived,
        Self::HttpRequestError,
        Self::HttpRequestDenied,
        Self::HttpResponseIncomplete,
        Self::HttpResponseHeaderSectionSize,
        Self::HttpResponseTimeout,
        Self::HttpUpgradeFailed,
        Self::HttpProtocolError,
        Self::ProxyInternalResponse,
        Self::ProxyInternalError,
        Self::ProxyConfigurationError,
        Self::ProxyLoopDetected,
    ];

    /// The name in `Proxy-Status`, in the log and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DnsTimeout => "dns_timeout",
            Self::DnsError => "dns_error",
            Self::DestinationNotFound => "destination_not_found",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::DestinationIpProhibited => "destination_ip_prohibited",
            Self::DestinationIpUnroutable => "destination_ip_unroutable",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionReadTimeout => "connection_read_timeout",
            Self::ConnectionWriteTimeout => "connection_write_timeout",
            Self::ConnectionLimitReached => "connection_limit_reached",
            Self::TlsProtocolError => "tls_protocol_error",
            Self::TlsCertificateError => "tls_certificate_error",
            Self::TlsAlertReceived => "tls_alert_received",
            Self::HttpRequestError => "http_request_error",
            Self::HttpRequestDenied => "http_request_denied",
            Self::HttpResponseIncomplete => "http_response_incomplete",
            Self::HttpResponseHeaderSectionSize => "http_response_header_section_size",
            Self::HttpResponseTimeout => "http_response_timeout",
            Self::HttpUpgradeFailed => "http_upgrade_failed",
            Self::HttpProtocolError => "http_protocol_error",
            Self::ProxyInternalResponse => "proxy_internal_response",
            Self::ProxyInternalError => "proxy_internal_error",
            Self::ProxyConfigurationError => "proxy_configuration_error",
            Self::ProxyLoopDetected => "proxy_loop_detected",
        }
    }
}

/// Methods that have a label of their own in metrics; all others are `other`.
pub const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "other"];

/// The index of a method in [`METHODS`].
#[must_use]
pub fn method_index(method: &str) -> usize {
    METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len() - 1)
}

/// Classes of status codes, as metrics name them.
pub const CODE_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The index of a status code in [`CODE_CLASSES`].
#[must_use]
pub fn class_index(status: u16) -> usize {
    usize::from(status / 100).clamp(1, CODE_CLASSES.len()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_order() {
        for (number, error) in ProxyErrorType::ALL.into_iter().enumerate() {
            assert_eq!(error as usize, number, "{}", error.name());
        }
        assert_eq!((method_index("GET"), method_index("get"), method_index("BREW")), (0, 9, 9));
        assert_eq!((class_index(101), class_index(204), class_index(599), class_index(799)), (0, 1, 4, 4));
    }
}
