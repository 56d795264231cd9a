//! Certificates and keys of the proxy and of its clients: what is accepted, what a reload does with others.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use nix::sys::signal::Signal;
use serde_json::json;
use tokio_rustls::rustls::{ClientConfig, pki_types::CertificateDer};

use crate::support::{
    Authority, Config, Mode, Origin, Proxy, Signed, eventually, in_every_mode,
    secure::{self, SecureClient},
};

in_every_mode!(
    certificates_are_swapped_under_load,
    a_certificate_that_is_no_good_changes_nothing,
    a_certificate_names_its_user,
);

fn get(config: &Arc<ClientConfig>, proxy: &Proxy, request: &[u8]) -> io::Result<(String, SecureClient)> {
    let mut client = secure::connect(config, proxy.tls_addr())?;
    client.write_all(request)?;
    Ok((secure::read_response(&mut client)?.0, client))
}

/// What the proxy shows a client who was not here before.
fn shown(proxy: &Proxy, ca: &str) -> CertificateDer<'static> {
    let client =
        secure::connect(&secure::client(ca, None), proxy.tls_addr()).expect("the handshake succeeds");
    client.conn.peer_certificates().expect("there is one")[0].clone().into_owned()
}

fn put(proxy: &Proxy, signed: &Signed) {
    proxy.folder().write("cert.pem", &signed.cert);
    proxy.folder().write("key.pem", &signed.key);
}

fn certificates_are_swapped_under_load(mode: Mode) {
    let authority = Authority::new();
    let proxy = Arc::new(secure::listening(Config::new(mode), &authority).start());
    let origin = Arc::new(Origin::ok());
    let (ended, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|index| {
            let (proxy, origin) = (Arc::clone(&proxy), Arc::clone(&origin));
            let (ended, done) = (Arc::clone(&ended), Arc::clone(&done));
            let resuming = secure::client(&authority.pem(), None);
            let ca = authority.pem();
            thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    // Half of them are here for the first time, always.
                    let config =
                        if index % 2 == 0 { Arc::clone(&resuming) } else { secure::client(&ca, None) };
                    let (head, _client) =
                        get(&config, &proxy, &origin.get("/", &[])).expect("no handshake fails");
                    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut before = shown(&proxy, &authority.pem());
    for round in 1..=5 {
        let enough = done.load(Ordering::Relaxed) + 20;
        eventually("the load goes on", || {
            (done.load(Ordering::Relaxed) >= enough || clients.iter().any(|client| client.is_finished()))
                .then_some(())
        });
        put(&proxy, &authority.server(&["localhost"]));
        proxy.signal(Signal::SIGHUP);
        eventually("the reload is in force", || {
            (proxy.log_lines("reload applied").len() == round).then_some(())
        });
        let other = eventually("another certificate is shown", || {
            Some(shown(&proxy, &authority.pem())).filter(|other| *other != before)
        });
        before = other;
    }
    ended.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no handshake fails");
    }
}

fn a_certificate_that_is_no_good_changes_nothing(mode: Mode) {
    let authority = Authority::new();
    let proxy = secure::listening(Config::new(mode), &authority).start();
    let before = shown(&proxy, &authority.pem());
    let good = authority.server(&["localhost"]);
    let other = authority.server(&["localhost"]);
    for (round, (signed, key, said)) in [
        (Signed { cert: "nothing".into(), ..good.clone() }, "tls.cert_path", "no certificate in PEM"),
        (
            Signed { key: other.key, ..good.clone() },
            "tls.key_path",
            "the key does not belong to the certificate",
        ),
        (Signed { key: "nothing".into(), ..good }, "tls.key_path", "no key without a password"),
        (authority.expired(&["localhost"]), "tls.cert_path", "has expired"),
    ]
    .into_iter()
    .enumerate()
    {
        put(&proxy, &signed);
        let checked = proxy.operate(&["check"]);
        assert_eq!(checked.code(), 78, "{checked:?}");
        assert!(checked.stderr.contains(key) && checked.stderr.contains(said), "{checked:?}");
        assert!(!checked.stderr.contains("PRIVATE"), "{checked:?}");
        proxy.signal(Signal::SIGHUP);
        let lines = eventually("the reload is refused", || {
            Some(proxy.log_lines("reload refused")).filter(|lines| lines.len() > round)
        });
        assert!(lines[round].contains(key), "{lines:?}");
        assert_eq!(shown(&proxy, &authority.pem()), before);
    }
    assert!(!proxy.all_logs().contains("PRIVATE KEY"));
}

fn a_certificate_names_its_user(mode: Mode) {
    let (authority, clients) = (Authority::new(), Authority::new());
    let config = secure::listening(Config::new(mode), &authority)
        .file("clients.pem", &clients.pem())
        .file("users", "ann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\n")
        .set("tls.client_ca_path", "clients.pem")
        .set("access.users_file", "users")
        .set(
            "rate_limit.limits",
            json!([{ "name": "bob", "key": "user", "rate": "1/d", "match": { "users": ["bob"] } }]),
        );
    let proxy = config.start();
    let origin = Origin::ok();
    let status = |config: &Arc<ClientConfig>| {
        let response = get(config, &proxy, &origin.get("/", &[]));
        response.ok().and_then(|(head, _)| head.get(9..12)?.parse::<u16>().ok())
    };
    let [ann, bob] = ["ann", "bob"].map(|name| secure::client(&authority.pem(), Some(&clients.client(name))));
    // Nobody is asked for a password; bob is known again when he resumes.
    assert_eq!([status(&ann), status(&bob), status(&bob), status(&ann)], [200, 200, 429, 200].map(Some));
    let line = proxy.access_line(|line| line["status"] == 429);
    assert_eq!((&line["user"], &line["rule"]), (&"bob".into(), &"rate_limit.limits[bob]".into()), "{line}");
    proxy.access_line(|line| line["user"] == "ann");
    // Who has none, or one of somebody else's authority, or none with a name, is not let in.
    let others = [
        None,
        Some(Authority::new().client("ann")),
        Some(clients.client("")),
        Some(clients.server(&["ann"])),
    ];
    for other in others {
        let config = secure::client(&authority.pem(), other.as_ref());
        assert_eq!(status(&config), None, "{other:?}");
    }
    // A tunnel is bob's too, and the listener without TLS asks for a password.
    let connect = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.authority());
    let (head, _) = get(&bob, &proxy, connect.as_bytes()).unwrap();
    assert!(head.starts_with("HTTP/1.1 429"), "{head}");
    assert_eq!(proxy.exchange(origin.get("/", &[])).status(), 407);
    // Sessions from before do not outlive the authority that has vouched for them.
    proxy.folder().write("clients.pem", Authority::new().pem());
    proxy.signal(Signal::SIGHUP);
    proxy.log_line("reload applied");
    eventually("nobody is let in any more", || status(&ann).is_none().then_some(()));
}

#[test]
fn check_warns_of_what_will_be_wrong() {
    use std::os::unix::fs::PermissionsExt;
    let authority = Authority::new();
    let config = secure::listening(Config::new(Mode::MultiProcess), &authority);
    let path = config.folder().path().join("key.pem");
    let config = config.arg("check");
    for (mode, warned) in [(0o644, true), (0o640, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let finished = config.run();
        assert_eq!(finished.code(), 0, "{finished:?}");
        assert_eq!(
            finished.stderr.contains("tls.key_path: anybody on this host can read the key"),
            warned,
            "{finished:?}"
        );
    }
    let soon = authority.soon(&["localhost"]);
    config.folder().write("cert.pem", &soon.cert);
    config.folder().write("key.pem", &soon.key);
    let finished = config.run();
    assert!(finished.stderr.contains("expires in 1 days"), "{finished:?}");
    std::fs::remove_file(&path).unwrap();
    let finished = config.run();
    assert_eq!(finished.code(), 78, "{finished:?}");
    assert!(finished.stderr.contains("tls.key_path: found \"key.pem\": it cannot be read"), "{finished:?}");
    let finished = Config::new(Mode::SingleThreaded).set("tls.listen_addr", "127.0.0.1:0").run();
    assert_eq!(finished.code(), 78, "{finished:?}");
    assert!(finished.stderr.contains("tls.listen_addr: is set without tls.cert_path"), "{finished:?}");
}
