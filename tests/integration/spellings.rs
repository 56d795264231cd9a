//! Every way to write, or to have resolved, what leads to private addresses and to the metadata services of clouds: refused, and
//! nothing is ever connected to.

use std::net::IpAddr;

use crate::support::{Answer, Config, Mode, NameServer, Origin, Proxy, Reply, head, in_every_mode};

in_every_mode! {
    spellings_in_the_target,
    answers_of_name_servers,
    metadata_names,
}

/// Written as the host of a target. Those that name this machine are asked for with the port of an origin that listens there.
const SPELLINGS: &[&str] = &[
    // Loopback, as addresses.
    "127.0.0.1",
    "127.1.2.3",
    "127.255.255.254",
    "127.0.0.1.",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::0001]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:7f00:0001::1]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "[::1%25lo]",
    "[::1%lo]",
    "[fe80::1%25eth0]",
    // Loopback, as resolvers read numbers.
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0X7F000001",
    "0x7f.1",
    "0x7f.0x0.0x0.0x1",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "127.0.0.0x1",
    "00127.0.0.1",
    "127.000.000.001",
    "127.0.0.1.0",
    "127..0.1",
    // This host, this network, everybody.
    "0",
    "0.0.0.0",
    "0.0.0.1",
    "[::]",
    "[::ffff:0.0.0.0]",
    "255.255.255.255",
    // Loopback, as a name.
    "localhost",
    "LOCALHOST",
    "LocalHost.",
    "localhost.",
    // As other scripts and encodings write it.
    "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "\u{24db}ocalhost",
    "\u{2460}\u{2461}\u{2466}.0.0.1",
    "%31%32%37.0.0.1",
    "127%2e0.0.1",
    "loc%61lhost",
    "user@127.0.0.1",
    "example.com@127.0.0.1",
    // Private, link-local, shared, multicast, of documentation.
    "10.0.0.1",
    "10.1",
    "012.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "3232235777",
    "0xc0a80101",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "240.0.0.1",
    "[fc00::1]",
    "[fdff::1]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[2001:db8::1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:0:10.0.0.1]",
    "[64:ff9b::10.0.0.1]",
    "[2002:a00:1::1]",
    // Metadata services.
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "169.254.170.2",
    "100.100.100.200",
    "192.0.0.192",
];

/// Answers of a name server for a name that looks like any other.
const ANSWERS: &[&str] = &[
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "192.0.0.192",
    "198.18.0.1",
    "255.255.255.255",
    "224.0.0.1",
    "::1",
    "::",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "fe80::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "ff02::1",
    "2001:db8::1",
];

fn strict(mode: Mode) -> Config {
    Config::new(mode).set("access.local_client_bypass", false)
}

/// It is refused for what it is, before anything was connected to.
#[track_caller]
fn expect_refused(answer: &Answer, what: &str) {
    let error = answer.error();
    let is_refused = match answer.status() {
        // No host at all.
        400 => true,
        403 => error.as_deref() == Some("http_request_denied"),
        502 => error.as_deref() == Some("destination_ip_prohibited"),
        _ => false,
    };
    assert!(is_refused, "{what}: {answer:?}");
}

fn get(proxy: &Proxy, authority: &str) -> Answer {
    proxy.exchange(head(&[format!("GET http://{authority}/ HTTP/1.1"), format!("Host: {authority}")]))
}

fn spellings_in_the_target(mode: Mode) {
    assert!(SPELLINGS.len() >= 60);
    let (proxy, origin) = (strict(mode).start(), Origin::ok());
    for spelling in SPELLINGS {
        let authority = format!("{spelling}:{}", origin.port());
        expect_refused(&get(&proxy, &authority), &format!("GET {spelling}"));
        let tunnel = head(&[format!("CONNECT {spelling}:443 HTTP/1.1"), format!("Host: {spelling}:443")]);
        expect_refused(&proxy.exchange(tunnel), &format!("CONNECT {spelling}"));
    }
    assert_eq!(origin.connections(), 0);
}

fn answers_of_name_servers(mode: Mode) {
    let name = |index: usize| format!("host{index}.test");
    let names: Vec<_> = (0..ANSWERS.len()).map(name).collect();
    let addresses = ANSWERS.iter().map(|answer| Reply::Addresses(vec![answer.parse::<IpAddr>().unwrap()]));
    let zone: Vec<_> = names.iter().map(String::as_str).zip(addresses).collect();
    let (names, origin) = (NameServer::start(&zone), Origin::ok());
    let proxy = strict(mode).set("dns.servers", names.servers()).start();
    for (index, answer) in ANSWERS.iter().enumerate() {
        let authority = format!("{}:{}", name(index), origin.port());
        get(&proxy, &authority).expect_error(502, "destination_ip_prohibited");
        let tunnel =
            head(&[format!("CONNECT {}:443 HTTP/1.1", name(index)), format!("Host: {}:443", name(index))]);
        expect_refused(&proxy.exchange(tunnel), answer);
    }
    assert_eq!(origin.connections(), 0);
    let line = proxy.access_line(|line| line["host"] == "host0.test");
    assert_eq!(line["rule"], "access.destinations.deny[special]", "{line}");
}

fn metadata_names(mode: Mode) {
    let service = Reply::Addresses(vec![IpAddr::from([169, 254, 169, 254])]);
    let hosts =
        ["metadata.google.internal", "metadata", "xn--mtadata-b1a.test", "instance-data.ec2.internal"];
    let zone: Vec<_> = hosts.iter().map(|host| (*host, service.clone())).collect();
    let names = NameServer::start(&zone);
    let proxy = strict(mode).set("dns.servers", names.servers()).start();
    for host in hosts {
        for spelled in [host.to_owned(), host.to_uppercase(), format!("{host}.")] {
            expect_refused(&get(&proxy, &format!("{spelled}:80")), &spelled);
        }
    }
    // Also where somebody has excepted everything that is private.
    let lenient = Config::new(mode)
        .set("access.destinations.deny", vec!["metadata"])
        .set("dns.servers", names.servers())
        .start();
    for host in ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "metadata.google.internal"]
    {
        expect_refused(&get(&lenient, &format!("{host}:80")), host);
    }
}
