//! Names against a scripted name server.

use std::{collections::HashMap, fs, future::poll_fn, path::PathBuf, sync::Mutex};

use tokio::{net::UdpSocket, task::JoinHandle, time::timeout};

use super::*;

/// What a name server says of a name in one family.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    Addresses(Vec<IpAddr>),
    Code(u8),
    Nothing,
}

/// A name server over UDP with a small zone. What it does not know is NXDOMAIN; of the family it has nothing for, NOERROR.
pub(crate) struct Names {
    pub(crate) addr: SocketAddr,
    questions: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Names {
    /// The zone has names with their last dot and families: `a.test. AAAA`.
    pub(crate) async fn start(zone: &[(&str, Says)]) -> Self {
        let zone: HashMap<String, Says> =
            zone.iter().map(|(name, says)| ((*name).to_owned(), says.clone())).collect();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let questions: Arc<Mutex<Vec<String>>> = Arc::default();
        let asked = Arc::clone(&questions);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((count, from)) = socket.recv_from(&mut buffer).await {
                let (key, question) = question(&buffer[..count]);
                asked.lock().unwrap().push(key.clone());
                if let Some(reply) = reply(&zone, &key, &buffer, question) {
                    socket.send_to(&reply, from).await.unwrap();
                }
            }
        });
        Self { addr, questions, task }
    }

    pub(crate) fn questions(&self) -> Vec<String> {
        let mut questions = self.questions.lock().unwrap().clone();
        questions.sort();
        questions
    }

    pub(crate) fn options(&self) -> ResolverOptions {
        ResolverOptions {
            servers: Some(vec![self.addr]),
            cache_size: 100,
            negative_ttl: Duration::from_secs(5),
        }
    }

    pub(crate) fn resolver(&self) -> Resolver {
        Resolver::with_hosts(&self.options(), no_hosts()).unwrap()
    }

    fn searching(&self, domain: &str) -> Resolver {
        let search = vec![domain.parse().unwrap()];
        let system =
            system::Conf { servers: vec![name_server(self.addr)], search, ..system::Conf::default() };
        Resolver::build(&self.options(), system, no_hosts()).unwrap()
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn no_hosts() -> Hosts {
    Hosts::read(PathBuf::from("/does/not/exist"), Instant::now())
}

fn question(query: &[u8]) -> (String, &[u8]) {
    let (mut at, mut name) = (12, String::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        name.push_str(std::str::from_utf8(&query[at + 1..end]).unwrap());
        name.push('.');
        at = end;
    }
    let family = if query[at + 2] == 28 { "AAAA" } else { "A" };
    (format!("{name} {family}"), &query[12..at + 5])
}

fn reply(zone: &HashMap<String, Says>, key: &str, query: &[u8], question: &[u8]) -> Option<Vec<u8>> {
    let name = key.split(' ').next().unwrap();
    let exists = zone.keys().any(|known| known.split(' ').next() == Some(name));
    let (code, addresses) = match zone.get(key) {
        Some(Says::Nothing) => return None,
        Some(Says::Code(code)) => (*code, &[][..]),
        Some(Says::Addresses(addresses)) => (0, addresses.as_slice()),
        None if exists => (0, &[][..]),
        None => (3, &[][..]),
    };
    let count = u8::try_from(addresses.len()).unwrap();
    let mut reply = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    reply.extend_from_slice(question);
    for address in addresses {
        let (kind, octets) = match address {
            IpAddr::V4(address) => (1, address.octets().to_vec()),
            IpAddr::V6(address) => (28, address.octets().to_vec()),
        };
        reply.extend_from_slice(&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, octets.len().try_into().unwrap()]);
        reply.extend_from_slice(&octets);
    }
    Some(reply)
}

async fn all(resolver: &Resolver, name: &str) -> Result<Vec<String>, ResolveError> {
    let mut answers = resolver.ask(name);
    let mut found = Vec::new();
    while let Some(addresses) = poll_fn(|cx| answers.poll_next(cx)).await {
        found.extend(addresses?.iter().map(ToString::to_string));
    }
    assert!(answers.are_complete());
    found.sort();
    Ok(found)
}

fn addresses(texts: &[&str]) -> Says {
    Says::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect())
}

#[tokio::test]
async fn both_families_are_found_once_and_kept() {
    let names = Names::start(&[
        ("a.test. A", addresses(&["192.0.2.1", "192.0.2.2"])),
        ("a.test. AAAA", addresses(&["2001:db8::1"])),
    ])
    .await;
    let resolver = names.resolver();
    for _ in 0..3 {
        assert_eq!(all(&resolver, "a.test").await.unwrap(), ["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    }
    assert_eq!(names.questions(), ["a.test. A", "a.test. AAAA"]);
}

#[tokio::test]
async fn failures_say_what_the_server_said() {
    let names = Names::start(&[
        ("txt.test. TXT", Says::Nothing),
        ("four.test. A", addresses(&["192.0.2.1"])),
        ("broken.test. A", Says::Code(2)),
        ("broken.test. AAAA", Says::Code(2)),
        ("half.test. A", Says::Code(5)),
    ])
    .await;
    let resolver = names.resolver();
    let no_data = ResolveError::NotFound { rcode: "NOERROR" };
    for (name, expected) in [
        ("missing.test", Err(ResolveError::NotFound { rcode: "NXDOMAIN" })),
        ("txt.test", Err(no_data)),
        ("broken.test", Err(ResolveError::Failed { rcode: Some("SERVFAIL") })),
        ("half.test", Err(ResolveError::Failed { rcode: Some("REFUSED") })),
        ("x.invalid", Err(ResolveError::NotFound { rcode: "NXDOMAIN" })),
        ("four.test", Ok(vec!["192.0.2.1".to_owned()])),
    ] {
        assert_eq!(all(&resolver, name).await, expected, "{name}");
    }
    assert!(!names.questions().iter().any(|question| question.contains("invalid")));
    let asked = names.questions().len();
    assert!(all(&resolver, "missing.test").await.is_err());
    assert_eq!(names.questions().len(), asked, "that there is no such name is remembered");
}

#[tokio::test]
async fn one_caller_that_goes_away_leaves_the_others() {
    let names = Names::start(&[("slow.test. A", Says::Nothing), ("slow.test. AAAA", Says::Nothing)]).await;
    let resolver = names.resolver();
    let mut callers: Vec<_> = (0..20).map(|_| resolver.ask("slow.test")).collect();
    let mut poll_all = async |patience: u64| {
        let polled = poll_fn(|cx| {
            for caller in &mut callers {
                assert!(caller.poll_next(cx).is_pending());
            }
            std::task::Poll::<()>::Pending
        });
        assert!(timeout(Duration::from_millis(patience), polled).await.is_err());
        callers.remove(0);
    };
    poll_all(50).await;
    poll_all(50).await;
    // Two families, and whatever was sent again meanwhile; never one for each caller.
    assert!(names.questions().len() <= 8, "{:?}", names.questions());
}

#[tokio::test]
async fn a_name_is_left_for_the_search_list_with_both_its_families() {
    let names = Names::start(&[
        ("four.test. A", addresses(&["192.0.2.1"])),
        // What a wildcard in the domain of the search list does.
        ("four.test.corp.test. AAAA", addresses(&["2001:db8::bad"])),
        ("intranet.corp.test. A", addresses(&["192.0.2.9"])),
        ("broken.test. A", Says::Code(2)),
        ("broken.test. AAAA", Says::Code(2)),
    ])
    .await;
    let resolver = names.searching("corp.test");
    assert_eq!(all(&resolver, "four.test").await.unwrap(), ["192.0.2.1"]);
    assert_eq!(all(&resolver, "intranet").await.unwrap(), ["192.0.2.9"]);
    assert_eq!(all(&resolver, "broken.test").await, Err(ResolveError::Failed { rcode: Some("SERVFAIL") }));
    let asked = names.questions();
    for never in ["four.test.corp.test. AAAA", "intranet. A"] {
        assert!(!asked.iter().any(|question| question == never), "{never}: {asked:?}");
    }
    assert_eq!(all(&resolver, "intranet.").await, Err(ResolveError::NotFound { rcode: "NXDOMAIN" }));
    let more: Vec<_> =
        names.questions().into_iter().filter(|question| question.starts_with("intranet. ")).collect();
    assert_eq!(more, ["intranet. A", "intranet. AAAA"], "a name with a last dot is looked up as it is");
}

#[cfg(target_os = "linux")]
#[test]
fn names_are_tried_in_the_order_of_resolv_conf() {
    let options = ResolverOptions { servers: None, cache_size: 1, negative_ttl: Duration::ZERO };
    let resolver = |text: &str| {
        Resolver::build(&options, system::parse(text.as_bytes().to_vec()).unwrap(), no_hosts()).unwrap()
    };
    let names = |resolver: &Resolver, name: &str| {
        resolver.names(name).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let plain = resolver("nameserver 192.0.2.53\nsearch a.test b.test");
    for (name, expected) in [
        ("x", "x.a.test. x.b.test. x."),
        ("x.y", "x.y. x.y.a.test. x.y.b.test."),
        ("x.", "x."),
        ("x_y.z.", "x_y.z."),
    ] {
        assert_eq!(names(&plain, name), expected);
    }
    let cluster = resolver("nameserver 192.0.2.53\nsearch svc.local\noptions ndots:5");
    assert_eq!(names(&cluster, "a.b"), "a.b.svc.local. a.b.");
    assert!(names(&resolver(""), "x").ends_with("x."), "a host without configuration asks itself");
}

#[tokio::test]
async fn what_is_known_is_not_asked_for() {
    let path = std::env::temp_dir().join(format!("known-hosts-{}", std::process::id()));
    fs::write(&path, "192.0.2.7 listed.test alias\n::7 listed.test\n").unwrap();
    let names = Names::start(&[]).await;
    let resolver = Resolver::with_hosts(&names.options(), Hosts::read(path.clone(), Instant::now())).unwrap();
    fs::remove_file(&path).unwrap();
    let known =
        |name: &str| resolver.known(name).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(known("listed.test"), "192.0.2.7 ::7");
    assert_eq!(known("listed.test."), "192.0.2.7 ::7");
    assert_eq!(known("alias"), "192.0.2.7");
    for local in ["localhost", "localhost.", "a.localhost", "b.a.localhost."] {
        assert_eq!(known(local), "::1 127.0.0.1", "{local}");
    }
    for other in ["test", "notlocalhost", "localhost.test"] {
        assert_eq!(known(other), "", "{other}");
    }
    assert_eq!(names.questions(), [""; 0]);
}

#[test]
fn works_in_a_runtime_of_either_kind() {
    for mut builder in
        [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()]
    {
        builder.enable_all().build().unwrap().block_on(async {
            let names = Names::start(&[("a.test. A", addresses(&["192.0.2.1"]))]).await;
            assert_eq!(all(&names.resolver(), "a.test").await.unwrap(), ["192.0.2.1"]);
        });
    }
}
