//! What the tests stand on: the real binary as a child, a scriptable origin, a raw client, a name server.
//!
//! Everything here talks to the proxy from outside: sockets, signals, files, the environment. The client and
//! the origin are byte-exact and share nothing with the program under test: no HTTP library, no runtime,
//! plain threads. Nothing sleeps: a wait is for a condition ([`eventually`]) or for bytes, with a deadline.
//!
//! | file | one of these is |
//! | --- | --- |
//! | `proxy` | a running instance in its own folder, killed and checked for orphans on drop |
//! | `config` | the configuration of one that will run, by key path |
//! | `admin` | a visitor of the admin endpoint |
//! | `client` | one connection of a client to the proxy |
//! | `origin` | a server behind the proxy, recording every byte it got |
//! | `backend` | a server of a group, which can be killed and started again |
//! | `load` | clients that count every failure |
//! | `wire` | a buffered socket that reads heads and bodies |
//! | `h2_client` | a client that speaks HTTP/2 |
//! | `h2_frames` | an origin's end of HTTP/2, frame by frame |
//! | `h2_origin` | an origin that speaks HTTP/2 |
//! | `head` | a message head, fields in order and as received |
//! | `answer` | a response as the client saw it, and what must be true of the proxy's own |
//! | `name_server` | a DNS server with a small zone |
//! | `redis` | a Redis server, where it is installed |
//! | `tls_origin` | an HTTPS origin with a fresh certificate |
//! | `certificates` | authorities and what they sign |
//! | `secure` | either end of TLS, in memory of the test |
//! | `process` | what /proc says |
//! | `wait` | deadlines |
//! | `folder` | a temporary directory |

mod admin;
mod answer;
mod backend;
mod black_hole;
mod certificates;
mod client;
mod config;
mod folder;
pub(crate) mod h2_client;
pub(crate) mod h2_frames;
pub(crate) mod h2_origin;
mod head;
mod load;
mod name_server;
mod origin;
pub(crate) mod process;
mod proxy;
mod redis;
pub(crate) mod secure;
mod tls_origin;
mod wait;
mod wire;

pub(crate) use self::{
    admin::{Admin, metrics},
    answer::Answer,
    backend::Backend,
    black_hole::BlackHole,
    certificates::{Authority, Signed},
    client::Client,
    config::{Config, Finished, Mode, copy},
    folder::Folder,
    h2_client::H2Proxy,
    h2_origin::H2Origin,
    head::{Head, head},
    load::Load,
    name_server::{NameServer, Reply},
    origin::{Conn, Origin},
    proxy::Proxy,
    redis::Redis,
    secure::SecureOrigin,
    tls_origin::TlsOrigin,
    wait::{PATIENCE, at_full_size, eventually, pause, within},
    wire::{Body, End, Wire},
};

/// Turns each named scenario, a `fn(Mode)`, into three tests: one a process model.
macro_rules! in_every_mode {
    ($($(#[$meta:meta])* $name:ident),+ $(,)?) => {$(
        mod $name {
            use crate::support::Mode;

            #[test]
            $(#[$meta])*
            fn single_threaded() {
                super::$name(Mode::SingleThreaded);
            }

            #[test]
            $(#[$meta])*
            fn multi_threaded() {
                super::$name(Mode::MultiThreaded);
            }

            #[test]
            $(#[$meta])*
            fn multi_process() {
                super::$name(Mode::MultiProcess);
            }
        }
    )+};
}
pub(crate) use in_every_mode;
