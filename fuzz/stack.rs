//! The whole proxy in this thread, between a client and an origin on real sockets: what goes in at one end is compared with
//! what comes out at the other.
//!
//! Nothing but the origin can be reached by what a client sends: the targets that use this see to it before they send.

use std::{
    cell::RefCell,
    mem::ManuallyDrop,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use rust_forward_proxy::{
    config::{Sources, load},
    server::{accept, drain::Drain},
    shared_memory::Segment,
    worker::{Assembled, assemble},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    task::{JoinHandle, LocalSet, spawn_local},
    time::timeout,
};

/// Longer than anything takes; what takes longer is a finding.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A proxy and an origin that listen.
pub struct Stack {
    runtime: Runtime,
    local: LocalSet,
    proxy: SocketAddr,
    origin: Rc<TcpListener>,
    port: u16,
    runs: u32,
}

/// What an origin does with the bytes that it has of a connection: the index of the connection and all bytes so far come in,
/// what it writes goes out, and whether it closes its side behind that.
pub type Play = Rc<RefCell<dyn FnMut(usize, &[u8]) -> (Vec<u8>, bool)>>;

/// What an origin has seen.
pub type Connections = Rc<RefCell<Vec<Seen>>>;

/// Of one connection to the origin.
#[derive(Debug, Default)]
pub struct Seen {
    pub bytes: Vec<u8>,
    /// The proxy has closed it.
    pub closed: bool,
}

/// So many runs have the same proxy: what it keeps open for later is closed with it.
const RUNS: u32 = 256;

thread_local! {
    // Not dropped with the thread: a runtime needs others of its thread-locals for that.
    static STACK: RefCell<ManuallyDrop<Option<Stack>>> = const { RefCell::new(ManuallyDrop::new(None)) };
}

/// Runs `scene` between the client's address of the proxy and an origin. Each run has an origin with an address of its own, so
/// that no connection of one run serves another.
pub fn on_stage<F, R>(play: Play, scene: impl FnOnce(Scene) -> F) -> R
where
    F: Future<Output = R>,
{
    STACK.with_borrow_mut(|stack| {
        if stack.as_ref().is_none_or(|stack| stack.runs == RUNS) {
            drop(stack.take());
        }
        let stack = stack.get_or_insert_with(Stack::start);
        stack.runs += 1;
        // 127.64.0.0/10 is as much this host as 127.0.0.1.
        let host = Ipv4Addr::from(0x7f40_0000 + stack.runs);
        let connections = Connections::default();
        let scene = scene(Scene {
            proxy: stack.proxy,
            origin: SocketAddr::from((host, stack.port)),
            connections: Rc::clone(&connections),
        });
        let listener = Rc::clone(&stack.origin);
        stack.local.block_on(&stack.runtime, async move {
            // Dropped with the scene, also when that fails.
            let _origin = Aborted(spawn_local(serve(listener, play, connections)));
            scene.await
        })
    })
}

/// Where everything is.
pub struct Scene {
    pub proxy: SocketAddr,
    pub origin: SocketAddr,
    pub connections: Connections,
}

impl Stack {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let local = LocalSet::new();
        let text =
            "access_log: { file: null }\nforwarding: { via: \"px\" }\nupstream: { max_idle: 100000 }\n";
        let sources = Sources { text: Some(("config.yml".into(), text.to_owned())), ..Sources::default() };
        let loaded = load(&sources).expect("a good configuration");
        let (proxy, origin) = local.block_on(&runtime, async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let proxy = listener.local_addr().expect("it is bound");
            let seat = Segment::private(1).expect("memory").seat(0).expect("a seat");
            let assembled = assemble(&loaded.settings, &[proxy], seat, None).expect("it can be built");
            let Assembled { proxy: service, connections } = assembled;
            let tended = std::sync::Arc::clone(&service);
            tokio::spawn(async move { tended.tend().await });
            tokio::spawn(accept::accept(listener, service, connections, Drain::new()));
            (proxy, TcpListener::bind("0.0.0.0:0").await.expect("a free port"))
        });
        let port = origin.local_addr().expect("it is bound").port();
        Self { runtime, local, proxy, origin: Rc::new(origin), port, runs: 0 }
    }
}

/// A task that ends with its owner.
struct Aborted(JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(listener: Rc<TcpListener>, play: Play, connections: Connections) {
    let mut open = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("the origin accepts");
        let index = connections.borrow().len();
        connections.borrow_mut().push(Seen::default());
        open.spawn_local(attend(stream, index, Rc::clone(&play), Rc::clone(&connections)));
    }
}

async fn attend(mut stream: TcpStream, index: usize, play: Play, connections: Connections) {
    let _ = stream.set_nodelay(true);
    // No port is left waiting when it is over.
    let _ = stream.set_zero_linger();
    let mut buffer = vec![0; 16 << 10];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => connections.borrow_mut()[index].bytes.extend_from_slice(&buffer[..read]),
        }
        let (answer, closes) = {
            let connections = connections.borrow();
            (play.borrow_mut())(index, &connections[index].bytes)
        };
        if stream.write_all(&answer).await.is_err() {
            break;
        }
        if closes {
            let _ = stream.shutdown().await;
        }
    }
    connections.borrow_mut()[index].closed = true;
}

/// A client of the proxy.
pub struct Client {
    stream: TcpStream,
    pub received: Vec<u8>,
    /// The proxy has closed the connection, in order or by a reset.
    pub closed: bool,
    /// By a reset.
    pub reset: bool,
}

impl Client {
    pub async fn connect(proxy: SocketAddr) -> Self {
        let stream = TcpStream::connect(proxy).await.expect("the proxy accepts");
        let _ = stream.set_nodelay(true);
        let _ = stream.set_zero_linger();
        Self { stream, received: Vec::new(), closed: false, reset: false }
    }

    /// Sends while it reads, so that neither side waits for the other.
    pub async fn send(&mut self, bytes: &[u8], and_finish: bool) {
        let (mut read, mut write) = self.stream.split();
        let sending = async {
            let _ = write.write_all(bytes).await;
            if and_finish {
                let _ = write.shutdown().await;
            }
        };
        let mut sending = std::pin::pin!(sending);
        let mut buffer = vec![0; 16 << 10];
        while !self.closed {
            tokio::select! {
                biased;
                () = &mut sending => return,
                read = read.read(&mut buffer) => match read {
                    Ok(0) => self.closed = true,
                    Err(_) => (self.closed, self.reset) = (true, true),
                    Ok(read) => self.received.extend_from_slice(&buffer[..read]),
                }
            }
        }
    }

    /// Reads until `enough` is, or the proxy closes. False when nothing came for too long.
    pub async fn read_until(&mut self, mut enough: impl FnMut(&[u8]) -> bool) -> bool {
        let mut buffer = vec![0; 16 << 10];
        while !self.closed && !enough(&self.received) {
            match timeout(PATIENCE, self.stream.read(&mut buffer)).await {
                Err(_) => return false,
                Ok(Ok(0)) => self.closed = true,
                Ok(Err(_)) => (self.closed, self.reset) = (true, true),
                Ok(Ok(read)) => self.received.extend_from_slice(&buffer[..read]),
            }
        }
        true
    }
}
