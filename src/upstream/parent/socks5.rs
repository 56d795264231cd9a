//! SOCKS version 5 from the client's side (RFC 1928, and RFC 1929 for name and password).
//!
//! Names are sent as they are: the parent resolves them. Reads not a byte more than belongs to the exchange.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::ParentError;
use crate::{
    config::settings::ServerCredentials,
    net::authority::{Authority, Host},
};

const VERSION: u8 = 5;
const WITHOUT: u8 = 0;
const NAME_AND_PASSWORD: u8 = 2;

/// Has the server at the other end of `stream` connect to `origin`.
///
/// # Errors
///
/// Whatever keeps it from that. There is no deadline in here.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    origin: &Authority,
    credentials: Option<&ServerCredentials>,
) -> Result<(), ParentError> {
    let methods: &[u8] = if credentials.is_some() { &[WITHOUT, NAME_AND_PASSWORD] } else { &[WITHOUT] };
    send(stream, &[&[VERSION, methods.len() as u8], methods].concat()).await?;
    let [version, method] = receive(stream).await?;
    match (version, method, credentials) {
        (VERSION, WITHOUT, _) => {}
        (VERSION, NAME_AND_PASSWORD, Some(credentials)) => log_in(stream, credentials).await?,
        (VERSION, 0xff, _) => return Err(ParentError::Credentials),
        _ => return Err(ParentError::Malformed),
    }
    let mut request = vec![VERSION, 1, 0];
    match &origin.host {
        Host::V4(address) => {
            request.push(1);
            request.extend(address.octets());
        }
        Host::V6(address) => {
            request.push(4);
            request.extend(address.octets());
        }
        Host::Name(name) => {
            // No name is longer than 254 bytes.
            request.extend([3, name.len() as u8]);
            request.extend(name.as_bytes());
        }
    }
    request.extend(origin.port.to_be_bytes());
    send(stream, &request).await?;
    let [version, code, _, kind] = receive(stream).await?;
    match (version, code) {
        (VERSION, 0) => {}
        (VERSION, code) => return Err(ParentError::RefusedBySocks(code)),
        _ => return Err(ParentError::Malformed),
    }
    // The address that the parent has bound is of no use, but stands in front of what comes.
    let length = match kind {
        1 => 4,
        3 => {
            let [length] = receive(stream).await?;
            usize::from(length)
        }
        4 => 16,
        _ => return Err(ParentError::Malformed),
    };
    let mut bound = [0; 255 + 2];
    stream.read_exact(&mut bound[..length + 2]).await.map_err(|_| ParentError::Closed)?;
    Ok(())
}

async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    credentials: &ServerCredentials,
) -> Result<(), ParentError> {
    let mut request = vec![1];
    for part in [&credentials.user, &credentials.password] {
        // The configuration takes 1 to 255 bytes.
        request.push(part.len() as u8);
        request.extend(part.as_bytes());
    }
    send(stream, &request).await?;
    let [_, status] = receive(stream).await?;
    if status == 0 { Ok(()) } else { Err(ParentError::Credentials) }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), ParentError> {
    stream.write_all(bytes).await.map_err(|_| ParentError::Closed)?;
    stream.flush().await.map_err(|_| ParentError::Closed)
}

async fn receive<S: AsyncRead + Unpin, const N: usize>(stream: &mut S) -> Result<[u8; N], ParentError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(|_| ParentError::Closed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// What is sent to a parent that answers with `answers`, and what comes of it.
    async fn asked(
        origin: &str,
        user: Option<(&str, &str)>,
        answers: &[u8],
    ) -> (Vec<u8>, Result<(), ParentError>) {
        let credentials =
            user.map(|(user, password)| ServerCredentials { user: user.into(), password: password.into() });
        let (mut ours, mut theirs) = duplex(1024);
        theirs.write_all(answers).await.unwrap();
        theirs.shutdown().await.unwrap();
        let origin = Authority::parse(origin, None).unwrap();
        let result = connect(&mut ours, &origin, credentials.as_ref()).await;
        drop(ours);
        let mut sent = Vec::new();
        theirs.read_to_end(&mut sent).await.unwrap();
        (sent, result)
    }

    #[tokio::test]
    async fn what_is_sent() {
        let (sent, result) = asked("a.test:80", None, b"\x05\0\x05\0\0\x01\x7f\0\0\x01\0\x50").await;
        assert_eq!(
            (sent.as_slice(), result.is_ok()),
            (&b"\x05\x01\0\x05\x01\0\x03\x06a.test\0\x50"[..], true)
        );
        let answers = b"\x05\x02\x01\0\x05\0\0\x03\x01x\0\x50";
        let (sent, result) = asked("[::1]:443", Some(("u", "pw")), answers).await;
        let expected =
            b"\x05\x02\0\x02\x01\x01u\x02pw\x05\x01\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb";
        assert_eq!((sent.as_slice(), result.is_ok()), (&expected[..], true));
        let (sent, _) = asked("10.0.0.1:1", Some(("u", "p")), b"\x05\0\x05\0\0\x01\0\0\0\0\0\0").await;
        assert!(sent.ends_with(b"\x05\x01\0\x01\x0a\0\0\x01\0\x01"), "{sent:x?}");
    }

    #[tokio::test]
    async fn what_goes_wrong() {
        for (answers, expected) in [
            (&b""[..], "closed the connection"),
            (b"HTTP/1.1 400 Bad", "cannot be understood"),
            (b"\x05\xff", "credentials"),
            (b"\x05\x02\x01\x01", "credentials"),
            (b"\x05\0\x05\x05\0\x01\0\0\0\0\0\0", "code 5"),
            (b"\x05\0\x05\0\0\x07", "cannot be understood"),
            (b"\x05\0\x05\0\0\x01\0\0", "closed the connection"),
        ] {
            let (_, result) = asked("a.test:80", Some(("u", "p")), answers).await;
            let text = result.unwrap_err().to_string();
            assert!(text.contains(expected), "{answers:x?}: {text}");
        }
        let (_, result) = asked("a.test:80", None, b"\x05\x02").await;
        assert!(matches!(result, Err(ParentError::Malformed)), "a way that was not offered");
    }
}
