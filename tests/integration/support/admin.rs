//! A visitor of the admin endpoint.

use std::{collections::BTreeMap, io::Read, io::Write, net::SocketAddr, net::TcpStream};

use super::{PATIENCE, Proxy};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Admin {
    addr: SocketAddr,
}

impl Admin {
    pub(super) fn new(addr: SocketAddr) -> Self {
        Self { addr }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends these bytes; everything that is answered until the end.
    #[track_caller]
    pub(crate) fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect_timeout(&self.addr, PATIENCE).expect("the endpoint listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout is accepted");
        stream.write_all(request.as_bytes()).expect("the endpoint takes what is sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the endpoint answers");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The status and the content of what is at `path`.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let answer = self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.addr));
        let (head, content) = answer.split_once("\r\n\r\n").expect("a head ends");
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no status: {head}")), content.to_owned())
    }
}

/// Every series of `/metrics` with its value.
#[track_caller]
pub(crate) fn metrics(proxy: &Proxy) -> BTreeMap<String, f64> {
    let (status, page) = proxy.admin().get("/metrics");
    assert_eq!(status, 200, "{page}");
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let series = samples.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        (series.to_owned(), value.parse().unwrap_or_else(|error| panic!("{error}: {line}")))
    });
    series.collect()
}
