//! An address that never answers: a listening socket whose queue is full drops what arrives.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

#[derive(Debug)]
pub(crate) struct BlackHole {
    addr: SocketAddr,
    _listener: Socket,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    pub(crate) fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("sockets can be made");
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        listener.listen(0).expect("a bound socket listens");
        let addr = listener.local_addr().ok().and_then(|addr| addr.as_socket()).expect("an address");
        let mut queued = Vec::new();
        // The kernel takes one or two more than the backlog says.
        while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(200)) {
            queued.push(stream);
            assert!(queued.len() < 64, "this kernel's queue has no end");
        }
        Self { addr, _listener: listener, _queued: queued }
    }

    pub(crate) fn authority(&self) -> String {
        self.addr.to_string()
    }
}
