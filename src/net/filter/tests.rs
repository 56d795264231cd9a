use super::*;

const SETS: [NetSet; 5] =
    [NetSet::LinkLocal, NetSet::Loopback, NetSet::Metadata, NetSet::Private, NetSet::Special];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn patterns(texts: &[&str]) -> Vec<NetPattern> {
    texts.iter().map(|text| text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))).collect()
}

fn refused_by(deny: &[&str], allow: &[&str], address: &str) -> Option<String> {
    NetFilter::new(&patterns(deny), &patterns(allow)).check(ip(address)).err().map(|found| found.to_string())
}

#[test]
fn sets_hold_what_their_names_say() {
    for (set, members, strangers) in [
        (
            NetSet::Loopback,
            &["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"][..],
            &["128.0.0.1", "0.0.0.0", "::", "::2", "2002:7f00:1::", "64:ff9b::7f00:1"][..],
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
            &["169.254.0.0", "169.254.255.255", "fe80::1", "febf::1", "::ffff:169.254.1.1"],
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
                "fe80::a9fe:a9fe",
                "::ffff:169.254.169.254",
            ],
            &["169.254.169.253", "168.63.129.17", "100.100.100.201", "fd00:ec2::253"],
        ),
    ] {
        for member in members {
            assert!(set.contains(ip(member)), "{set} {member}");
        }
        for stranger in strangers {
            assert!(!set.contains(ip(stranger)), "{set} {stranger}");
        }
    }
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
        "64:ff9b:2::1",
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
        "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00::",
        "64:ff9b:1:a9:fe:a9fe::",
        "64:ff9b:1:0:a9:fea9:fe00:0",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::",
        "2001:0:808:808:0:0:5601:5601",
    ] {
        assert_eq!(refused_by(&["metadata"], &[], address).as_deref(), Some("metadata"), "{address}");
        assert!(refused_by(&["special"], &[], address).is_some(), "{address}");
        assert_eq!(
            refused_by(&["169.254.169.254"], &[], address).as_deref(),
            Some("169.254.169.254/32"),
            "{address}"
        );
    }
    for address in ["::1", "::", "2001:4860::a9fe:a9fe", "fd00::a9fe:a9fe", "2003:a9fe:a9fe::"] {
        assert_eq!(refused_by(&["metadata"], &[], address), None, "{address}");
    }
}

#[test]
fn exceptions_hold_for_each_address_by_itself() {
    let deny = &["special", "8.8.8.0/24"];
    for (allow, address, expected) in [
        (&["10.0.0.0/8"][..], "10.1.2.3", None),
        (&["10.0.0.0/8"], "::ffff:10.1.2.3", None),
        (&["10.0.0.0/8"], "64:ff9b::10.1.2.3", None),
        (&["10.0.0.0/8"], "2002:a01:203::", Some("special")),
        (&["2002::/16"], "2002:a01:203::", Some("special")),
        (&["2002::/16", "private"], "2002:a01:203::", None),
        (&["2002::/16"], "2002:101:101::", None),
        (&["::/0"], "::ffff:10.1.2.3", Some("special")),
        (&["8.8.8.8"], "8.8.8.8", None),
        (&["8.8.8.8"], "8.8.8.9", Some("8.8.8.0/24")),
        (&["::ffff:8.8.8.0/120"], "8.8.8.9", None),
        (&["loopback"], "127.0.0.1", None),
        (&["loopback"], "10.0.0.1", Some("special")),
    ] {
        assert_eq!(refused_by(deny, allow, address).as_deref(), expected, "{allow:?} {address}");
    }
}

#[test]
fn prefixes_of_mapped_addresses_mean_ipv4() {
    assert_eq!(refused_by(&["::ffff:10.0.0.0/104"], &[], "10.9.9.9").as_deref(), Some("10.0.0.0/8"));
    assert_eq!(refused_by(&["::ffff:0:0/96"], &[], "1.2.3.4").as_deref(), Some("0.0.0.0/0"));
    assert_eq!(refused_by(&["::/0"], &[], "1.2.3.4"), None);
    assert_eq!(refused_by(&["0.0.0.0/0"], &[], "2606:4700::1111"), None);
    assert!(patterns(&["::ffff:10.0.0.0/104"])[0].contains(ip("10.9.9.9")));
}

#[test]
fn many_prefixes_find_the_longest() {
    let all: Vec<NetPattern> = (0..=255u8)
        .flat_map(|a| (0..=255u8).map(move |b| format!("{a}.{b}.0.0/16").parse().unwrap()))
        .chain(patterns(&["9.9.0.0/24", "9.0.0.0/8"]))
        .collect();
    let list = NetList::new(&all);
    for (address, expected) in
        [("9.9.0.1", "9.9.0.0/24"), ("9.9.1.1", "9.9.0.0/16"), ("200.1.2.3", "200.1.0.0/16")]
    {
        assert_eq!(list.find(ip(address)).unwrap().to_string(), expected);
    }
    assert!(!list.contains(ip("::1")));
    assert!(!NetList::new(&[]).contains(ip("::1")));
}

#[test]
fn texts_of_patterns() {
    for text in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "fd00::/8", "2001:db8::1/128"] {
        assert_eq!(patterns(&[text])[0].to_string(), text);
    }
    assert_eq!(patterns(&["10.1.2.3", "::1"]), patterns(&["10.1.2.3/32", "::1/128"]));
    for set in SETS {
        assert_eq!(patterns(&[set.name()]), [NetPattern::Set(set)]);
        assert!(NetSet::NAMES.contains(set.name()));
    }
    for (text, expected) in [
        ("", NetPatternError::Unknown),
        ("loop", NetPatternError::Unknown),
        ("Loopback", NetPatternError::Unknown),
        ("example.com", NetPatternError::Unknown),
        ("10.0.0/8", NetPatternError::Unknown),
        ("[::1]", NetPatternError::Unknown),
        ("fe80::1%eth0", NetPatternError::Unknown),
        ("10.0.0.0/33", NetPatternError::PrefixLength { max: 32 }),
        ("10.0.0.0/", NetPatternError::PrefixLength { max: 32 }),
        ("10.0.0.0/+8", NetPatternError::PrefixLength { max: 32 }),
        ("::/129", NetPatternError::PrefixLength { max: 128 }),
        ("::/255.0.0.0", NetPatternError::PrefixLength { max: 128 }),
        ("10.0.0.1/8", NetPatternError::HostBits { network: "10.0.0.0/8".parse().unwrap() }),
    ] {
        assert_eq!(text.parse::<NetPattern>(), Err(expected), "{text}");
    }
    assert_eq!(
        "10.0.0.1/8".parse::<NetPattern>().unwrap_err().to_string(),
        "has bits beyond its prefix length: the network is 10.0.0.0/8"
    );
}
