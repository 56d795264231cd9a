//! A DNS server over UDP with a small zone; every question is recorded. A name it does not know is NXDOMAIN.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// These addresses, each for questions of its family.
    Addresses(Vec<IpAddr>),
    /// This response code: 2 is SERVFAIL, 3 is NXDOMAIN.
    Code(u8),
    /// No answer at all.
    Silence,
}

#[derive(Debug)]
pub(crate) struct NameServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    zone: HashMap<String, Reply>,
    questions: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

impl NameServer {
    /// Names without the last dot, lower case.
    pub(crate) fn start(zone: &[(&str, Reply)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let addr = socket.local_addr().expect("a bound socket has an address");
        let zone = zone.iter().map(|(name, reply)| ((*name).to_owned(), reply.clone())).collect();
        let shared = Arc::new(Shared { zone, questions: Mutex::default(), stopped: AtomicBool::new(false) });
        let inside = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((count, from)) = socket.recv_from(&mut buffer) {
                if inside.stopped.load(Ordering::Relaxed) {
                    return;
                }
                if let Some(reply) = inside.reply(&buffer[..count]) {
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        Self { addr, shared, thread: Some(thread) }
    }

    /// A zone in which this name is 127.0.0.1.
    pub(crate) fn with_loopback(name: &str) -> Self {
        Self::start(&[(name, Reply::Addresses(vec![IpAddr::from([127, 0, 0, 1])]))])
    }

    /// For `dns.servers`.
    pub(crate) fn servers(&self) -> Vec<String> {
        vec![self.addr.to_string()]
    }

    /// The names that were asked for, as they were asked.
    pub(crate) fn questions(&self) -> Vec<String> {
        self.shared.questions.lock().unwrap().clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
            let _ = socket.send_to(b"stop", self.addr);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn reply(&self, query: &[u8]) -> Option<Vec<u8>> {
        let mut at = 12;
        let mut name = String::new();
        loop {
            let length = usize::from(*query.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            name.push_str(&String::from_utf8_lossy(query.get(at..at + length)?));
            name.push('.');
            at += length;
        }
        let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
        let question = query.get(12..at + 4)?;
        self.questions.lock().unwrap().push(name.clone());

        let key = name.trim_end_matches('.').to_lowercase();
        let (code, records) = match self.zone.get(&key) {
            Some(Reply::Silence) => return None,
            Some(Reply::Code(code)) => (*code, Vec::new()),
            Some(Reply::Addresses(all)) => (0, all.iter().filter_map(|ip| record(kind, *ip)).collect()),
            None => (3, Vec::new()),
        };
        let count = u8::try_from(records.len()).expect("zones in tests are small");
        let mut reply = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
        reply.extend_from_slice(question);
        for record in records {
            reply.extend_from_slice(&record);
        }
        Some(reply)
    }
}

/// The record for the name at offset 12, when the address is of the family that was asked for.
fn record(kind: u16, address: IpAddr) -> Option<Vec<u8>> {
    let bytes = match (kind, address) {
        (1, IpAddr::V4(ip)) => ip.octets().to_vec(),
        (28, IpAddr::V6(ip)) => ip.octets().to_vec(),
        _ => return None,
    };
    let mut record = vec![0xc0, 12];
    record.extend_from_slice(&kind.to_be_bytes());
    record.extend_from_slice(&[0, 1, 0, 0, 0, 60, 0]);
    record.push(u8::try_from(bytes.len()).expect("4 or 16"));
    record.extend_from_slice(&bytes);
    Some(record)
}
