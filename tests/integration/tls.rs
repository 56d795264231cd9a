//! Clients that encrypt what they say to the proxy (`tls.listen_addr`).

use crate::support::{Authority, Config, Mode, Origin, Proxy, TlsOrigin, in_every_mode};

in_every_mode!(an_https_proxy_for_curl);

/// With a listener for TLS on any free port, its certificate from `authority`.
fn with_tls(config: Config, authority: &Authority) -> Config {
    let signed = authority.server(&["localhost", "127.0.0.1"]);
    config
        .set("tls.listen_addr", "127.0.0.1:0")
        .set("tls.cert_path", "cert.pem")
        .set("tls.key_path", "key.pem")
        .file("cert.pem", &signed.cert)
        .file("key.pem", &signed.key)
        .file("ca.pem", &authority.pem())
}

/// Runs curl through the proxy with TLS to it; what it wrote, and whether it succeeded.
fn curl(proxy: &Proxy, arguments: &[&str]) -> (bool, String) {
    let output = std::process::Command::new("curl")
        .env_clear()
        .args(["-sS", "--max-time", "30", "--noproxy", "", "-x"])
        .arg(format!("https://localhost:{}", proxy.tls_addr().port()))
        .arg("--proxy-cacert")
        .arg(proxy.folder().path().join("ca.pem"))
        .args(arguments)
        .output()
        .expect("curl is installed");
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn an_https_proxy_for_curl(mode: Mode) {
    let proxy = with_tls(Config::new(mode), &Authority::new()).start();
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let (succeeded, text) = curl(&proxy, &[&origin.url("/a"), &origin.url("/b")]);
    assert!(succeeded && text == "hellohello", "{text}");
    let secure = TlsOrigin::start();
    let certificate = secure.certificate();
    let (succeeded, text) = curl(&proxy, &["--cacert", certificate.to_str().unwrap(), &secure.url("/")]);
    assert!(succeeded && text.contains("Cipher"), "{text}");
    // The other listener serves as before.
    assert_eq!(proxy.curl(&[&origin.url("/c")]), "hello");
    let line = proxy.access_line(|line| line["path"] == "/a");
    assert_eq!(line["status"], 200, "{line}");
}
