//! Interim responses (1xx) of the origin, passed on in order (RFC 9110 section 15.2).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Version, header};

use super::{forward::Errand, live::Name, request_body::Upload};
use crate::message::hop_by_hop;

/// Lets interim responses to `request` reach the client of `errand`; a 100 opens the gate of `upload` instead, for the
/// client's own connection says `100 Continue` as soon as the body is asked for. An HTTP/1.0 client gets none.
pub(super) fn pass_on<B>(request: &mut Request<B>, errand: &Errand, upload: Option<&Arc<Upload>>) {
    let wire = Arc::clone(&errand.wire);
    let upload = upload.map(Arc::clone);
    let name = errand.live.name.clone();
    let http10 = errand.head.http10;
    hyper::ext::on_informational(request, move |interim| {
        if interim.status() == StatusCode::CONTINUE {
            if let Some(upload) = &upload {
                upload.open_gate();
            }
            wire.count_interim();
        } else if wire.count_interim() && !http10 {
            wire.send_interim(message(interim.status(), interim.version(), interim.headers(), &name));
        }
    });
}

fn message(status: StatusCode, received: Version, headers: &HeaderMap, name: &Name) -> Bytes {
    let mut headers = headers.clone();
    hop_by_hop::strip_response(&mut headers);
    // RFC 9110 section 8.6: no Content-Length in a 1xx.
    headers.remove(header::CONTENT_LENGTH);
    name.sign(received, &mut headers);
    let reason = status.canonical_reason().unwrap_or("Interim");
    let mut text = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in &headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text.into()
}
