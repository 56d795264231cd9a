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
    /// A field of the response is too large.
    HttpResponseHeaderSize,
    /// The response's content is too large.
    HttpResponseBodySize,
    /// The response's trailer fields are too large.
    HttpResponseTrailerSectionSize,
    /// A trailer field of the response is too large.
    HttpResponseTrailerSize,
    /// The response's transfer coding cannot be read.
    HttpResponseTransferCoding,
    /// The response's content coding cannot be read.
    HttpResponseContentCoding,
}

impl ProxyErrorType {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 32] = [
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
        Self::HttpResponseHeaderSize,
        Self::HttpResponseBodySize,
        Self::HttpResponseTrailerSectionSize,
        Self::HttpResponseTrailerSize,
        Self::HttpResponseTransferCoding,
        Self::HttpResponseContentCoding,
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
            Self::HttpResponseHeaderSize => "http_response_header_size",
            Self::HttpResponseBodySize => "http_response_body_size",
            Self::HttpResponseTrailerSectionSize => "http_response_trailer_section_size",
            Self::HttpResponseTrailerSize => "http_response_trailer_size",
            Self::HttpResponseTransferCoding => "http_response_transfer_coding",
            Self::HttpResponseContentCoding => "http_response_content_coding",
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

/// How TLS handshakes with clients end, as metrics name it: with a session that was there before, or from the beginning; not at
/// all; not in time.
pub const HANDSHAKES: [&str; 4] = ["full", "resumed", "failure", "timeout"];

/// Kinds of counters whose names the configuration gives, in shared memory.
pub mod tally {
    /// What rules have refused, by rule.
    pub const DENIED: u8 = 0;
    /// What limits have refused, by limit.
    pub const RATE_LIMITED: u8 = 1;
    /// Calls that a store of limits has not answered.
    pub const STORE_FAILURES: u8 = 2;
}

/// Names of metrics (CONTRACT section 6). A counter ends in `_total`; a unit is a base unit and stands before that.
pub mod metric {
    /// Lines of the access log that were lost.
    pub const ACCESS_LOG_DROPPED: &str = "forward_proxy_access_log_dropped_total";
    /// The build that runs.
    pub const BUILD: &str = "forward_proxy_build_info";
    /// Content, by direction.
    pub const BYTES: &str = "forward_proxy_bytes_total";
    /// Whether the last reload is in force.
    pub const CONFIG_LAST_RELOAD_SUCCESSFUL: &str = "forward_proxy_config_last_reload_successful";
    /// Client connections that are open.
    pub const CONNECTIONS_ACTIVE: &str = "forward_proxy_connections_active";
    /// Client connections that were taken.
    pub const CONNECTIONS: &str = "forward_proxy_connections_total";
    /// Requests that were refused, by rule.
    pub const DENIED: &str = "forward_proxy_denied_total";
    /// Look-ups, by result.
    pub const DNS_LOOKUPS: &str = "forward_proxy_dns_lookups_total";
    /// Failures, by RFC 9209 type.
    pub const ERRORS: &str = "forward_proxy_errors_total";
    /// Configurations that were in force.
    pub const GENERATION: &str = "forward_proxy_generation";
    /// Requests that a limit has refused, by limit.
    pub const RATE_LIMITED: &str = "forward_proxy_rate_limited_total";
    /// Decisions that were made without the store that they should have been made by.
    pub const RATE_LIMIT_STORE_FAILURES: &str = "forward_proxy_rate_limit_store_failures_total";
    /// Requests that were answered, by method and class of status code.
    pub const REQUESTS: &str = "forward_proxy_requests_total";
    /// How long they took.
    pub const REQUEST_DURATION: &str = "forward_proxy_request_duration_seconds";
    /// TLS handshakes with clients, by result.
    pub const TLS_HANDSHAKES: &str = "forward_proxy_tls_handshakes_total";
    /// Tunnels that are open.
    pub const TUNNELS_ACTIVE: &str = "forward_proxy_tunnels_active";
    /// Tunnels that were opened.
    pub const TUNNELS: &str = "forward_proxy_tunnels_total";
    /// Requests that a server of a group has now.
    pub const UPSTREAM_BACKEND_ACTIVE: &str = "forward_proxy_upstream_backend_active";
    /// Requests that a server of a group did not answer.
    pub const UPSTREAM_BACKEND_FAILURES: &str = "forward_proxy_upstream_backend_failures_total";
    /// Requests that were given to a server of a group.
    pub const UPSTREAM_BACKEND_REQUESTS: &str = "forward_proxy_upstream_backend_requests_total";
    /// How a server of a group is.
    pub const UPSTREAM_BACKEND_STATE: &str = "forward_proxy_upstream_backend_state";
    /// Connections to origins, by state.
    pub const UPSTREAM_CONNECTIONS: &str = "forward_proxy_upstream_connections";
    /// Attempts to connect to origins, by result.
    pub const UPSTREAM_CONNECTS: &str = "forward_proxy_upstream_connects_total";
    /// Requests that went out again.
    pub const UPSTREAM_RETRIES: &str = "forward_proxy_upstream_retries_total";
    /// Requests that went out on a kept connection.
    pub const UPSTREAM_REUSED: &str = "forward_proxy_upstream_reused_total";
    /// Workers, by state.
    pub const WORKERS: &str = "forward_proxy_workers";
    /// Requests that were answered, by worker.
    pub const WORKER_REQUESTS: &str = "forward_proxy_worker_requests_total";
    /// Replaced workers, by reason.
    pub const WORKER_RESTARTS: &str = "forward_proxy_worker_restarts_total";
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
