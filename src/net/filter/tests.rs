//! Tables of addresses, in all their embeddings, against the sets.

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pattern(text: &str) -> NetPattern {
    let prefix = || text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    NetSet::named(text).map_or_else(|| NetPattern::Prefix(prefix().unwrap()), NetPattern::Set)
}

fn refused_by(deny: &[&str], allow: &[&str], address: &str) -> Option<String> {
    let patterns = |texts: &[&str]| texts.iter().map(|text| pattern(text)).collect::<Vec<_>>();
    let filter = NetFilter::new(&patterns(deny), &patterns(allow));
    filter.check(ip(address)).err().map(|found| found.to_string())
}

#[test]
fn sets_hold_what_their_names_say() {
    for (set, members, strangers) in [
        (
            NetSet::Loopback,
            &["127.0.0.1", "127.255.255.255", "::1"][..],
            &["126.255.255.255", "128.0.0.1", "0.0.0.0", "::", "::2", "2002:7f00:1::", "64:ff9b::7f00:1"][..],
        ),
        (
            NetSet::Private,
            &[
                "10.0.0.0",
                "10.255.255.255",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.1.1",
                "fc00::1",
                "fdff::1",
            ],
            &["9.255.255.255", "11.0.0.0", "172.15.0.0", "172.32.0.0", "192.169.0.0", "fe00::", "100.64.0.1"],
        ),
        (
            NetSet::LinkLocal,
            &["169.254.0.0", "169.254.255.255", "fe80::1", "febf::1"],
            &["169.253.0.0", "169.255.0.0", "fec0::1", "fe7f::1"],
        ),
        (
            NetSet::Metadata,
            &[
                "169.254.169.254",
                "100.100.100.200",
                "168.63.129.16",
                "192.0.0.192",
                "169.254.170.2",
                "fd00:ec2::254",
                "fd20:ce::254",
                "fd00:c1::a9fe:a9fe",
                "fe80::a9fe:a9fe",
            ],
            &["169.254.169.252", "168.63.129.17", "100.100.100.201", "fd00:ec3::254", "fd20:ce::253"],
        ),
    ] {
        assert_eq!(NetSet::named(set.name()), Some(set));
        for member in members {
            assert!(set.holds(ip(member)), "{set:?} {member}");
            assert!(NetSet::Special.holds(ip(member)), "special {member}");
        }
        for stranger in strangers {
            assert!(!set.holds(ip(stranger)), "{set:?} {stranger}");
        }
    }
    assert_eq!(NetSet::named("everything"), None);
    assert_eq!(NetSet::named("Loopback"), None);
}

#[test]
fn special_is_all_that_is_not_public_unicast() {
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "168.63.129.16",
        "169.254.1.1",
        "172.20.0.1",
        "192.0.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::2",
        "::8.8.8.8",
        "::ffff:10.0.0.1",
        "::ffff:0:8.8.8.8",
        "64:ff9b:1::1",
        "64:ff9b:1::8.8.8.8",
        "64:ff9b:2::1",
        "64:ff9b::10.0.0.1",
        "100::1",
        "100:0:0:1::1",
        "1fff::1",
        "2001::1",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:1ff:ffff::1",
        "2001:db8::1",
        "2002:808:808::1",
        "3fff::1",
        "3fff:fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ] {
        assert_eq!(refused_by(&["special"], &[], address).as_deref(), Some("special"), "{address}");
    }
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.1",
        "192.31.196.1",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2003::1",
        "2606:4700::1111",
        "2620:4f:8000::1",
        "2a00:1450::1",
        "3fff:1000::1",
    ] {
        assert_eq!(refused_by(&["special"], &[], address), None, "{address}");
    }
}

#[test]
fn embedded_ipv4_is_checked_too() {
    for address in [
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::169.254.169.254",
        // RFC 6052 puts the address elsewhere for each length of prefix; what follows it is ignored.
        "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:a9fe:a9:fe00:808:808",
        "64:ff9b:1:a9:fe:a9fe::",
        "64:ff9b:1:0:a9:fea9:fe00:0",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::",
        "2001:0:808:808:0:0:5601:5601",
    ] {
        assert_eq!(refused_by(&["metadata"], &[], address).as_deref(), Some("metadata"), "{address}");
        assert!(refused_by(&["special"], &[], address).is_some(), "{address}");
        let prefix = Some("169.254.169.254/32");
        assert_eq!(refused_by(&["169.254.169.254"], &[], address).as_deref(), prefix, "{address}");
    }
    for address in ["::1", "::", "2001:4860::a9fe:a9fe", "fd00::a9fe:a9fe", "2003:a9fe:a9fe::"] {
        assert_eq!(refused_by(&["metadata"], &[], address), None, "{address}");
    }
}

#[test]
fn exceptions_come_first_and_do_not_unwrap() {
    let deny = &["special", "8.8.8.0/24"];
    for (allow, address, expected) in [
        ("10.1.0.0/16", "10.1.2.3", None),
        ("10.1.0.0/16", "::ffff:10.1.2.3", None),
        ("10.1.0.0/16", "10.2.0.1", Some("special")),
        // A translated address is not the one that is excepted.
        ("10.1.0.0/16", "64:ff9b::10.1.2.3", Some("special")),
        ("10.1.0.0/16", "2002:a01:203::", Some("special")),
        ("64:ff9b::10.1.0.0/112", "64:ff9b::10.1.2.3", None),
        ("::/0", "10.1.2.3", Some("special")),
        ("8.8.8.8", "8.8.8.8", None),
        ("8.8.8.8", "8.8.8.9", Some("8.8.8.0/24")),
        ("8.8.8.8", "::ffff:8.8.8.9", Some("8.8.8.0/24")),
        ("::ffff:8.8.8.0/120", "8.8.8.9", None),
        ("loopback", "127.0.0.1", None),
        ("loopback", "10.0.0.1", Some("special")),
    ] {
        assert_eq!(refused_by(deny, &[allow], address).as_deref(), expected, "{allow} {address}");
    }
}

#[test]
fn a_prefix_of_mapped_addresses_means_ipv4() {
    assert_eq!(refused_by(&["::ffff:10.0.0.0/104"], &[], "10.9.9.9").as_deref(), Some("10.0.0.0/8"));
    assert_eq!(refused_by(&["::ffff:0:0/96"], &[], "1.2.3.4").as_deref(), Some("0.0.0.0/0"));
    assert_eq!(refused_by(&["::/0"], &[], "1.2.3.4"), None);
    assert_eq!(refused_by(&["0.0.0.0/0"], &[], "2606:4700::1111"), None);
}

#[test]
fn many_prefixes_find_the_longest() {
    let all: Vec<NetPattern> = (0..=255u8)
        .flat_map(|a| (0..=255u8).map(move |b| pattern(&format!("{a}.{b}.0.0/16"))))
        .chain([pattern("9.9.0.0/24"), pattern("9.0.0.0/8")])
        .collect();
    let list = NetList::new(&all);
    for (address, expected) in
        [("9.9.0.1", "9.9.0.0/24"), ("9.9.1.1", "9.9.0.0/16"), ("200.1.2.3", "200.1.0.0/16")]
    {
        assert_eq!(list.find(ip(address)).unwrap().to_string(), expected);
    }
    assert_eq!(list.find(ip("::1")), None);
    assert_eq!(NetList::new(&[]).find(ip("::1")), None);
}
