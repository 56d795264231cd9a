//! Texts and the trees that come of them, lines included.

use super::*;

fn parsed(text: &str) -> (Value, String) {
    let mut problems = Problems::default();
    let tree = parse(text, &Arc::new("c.yml".into()), &mut problems);
    (tree, problems.to_string())
}

fn line_of(tree: &Value, path: &str) -> u64 {
    match &tree.get(path).unwrap().origin {
        Origin::File { line, .. } => *line,
        origin => panic!("{origin}"),
    }
}

#[test]
fn values_know_their_lines() {
    let text = "a: 1\nb:\n  c: \"x\"\n  d: [1, 2s]\n\ne: null\nf: 1.5\ng: yes please\nh: true\ni: off\nj:\n  - 1\n  - 2\nk:\n  |\n  long\n";
    let (tree, problems) = parsed(text);
    assert_eq!(problems, "");
    for (path, line, kind) in [
        ("a", 1, Kind::Int(1)),
        ("b.c", 3, Kind::Text("x".into())),
        ("e", 6, Kind::Null),
        ("f", 7, Kind::Float(1.5)),
        ("g", 8, Kind::Text("yes please".into())),
        ("h", 9, Kind::Bool(true)),
        ("i", 10, Kind::Text("off".into())),
        ("k", 14, Kind::Text("long\n".into())),
    ] {
        assert_eq!((line_of(&tree, path), &tree.get(path).unwrap().kind), (line, &kind), "{path}");
    }
    // A section and a list stand where their key stands, the members of a list where they stand.
    assert_eq!((line_of(&tree, "b"), line_of(&tree, "j")), (2, 11));
    let Kind::List(members) = &tree.get("j").unwrap().kind else { panic!("a list") };
    assert_eq!(members[1].origin.to_string(), "c.yml:13");
    assert!(tree.get("b.x").is_none() && tree.get("a.x").is_none());
}

#[test]
fn documents_in_which_nothing_is_said() {
    for empty in ["", "\u{feff}", "# only\n\n# comments\n", "---\n", "\n \n", "\r\n"] {
        let (tree, problems) = parsed(empty);
        assert_eq!((tree.kind, problems.as_str()), (Kind::Map(Vec::new()), ""), "{empty:?}");
    }
}

/// Regression: 63 levels overflowed the stack of a test and would have taken a running launcher down with a reload.
#[test]
fn depth_is_refused_before_it_costs_the_stack() {
    for levels in [17, 63, 64, 250] {
        let sections: String = (0..levels).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        for text in [format!("a: {}{}", "[".repeat(levels), "]".repeat(levels)), sections] {
            assert!(parsed(&text).1.contains("16 levels are accepted"), "{levels}");
        }
    }
}

#[test]
fn odd_documents_have_an_answer() {
    let bomb: String = (1..=8).fold("k0: &a0 [x,x,x,x,x,x,x,x,x]\n".into(), |text, level| {
        let alias = format!("*a{},", level - 1).repeat(9);
        format!("{text}k{level}: &a{level} [{alias}]\n")
    });
    for (bad, expected) in [
        ("a: [1\n", "c.yml:1: this is no YAML: unclosed bracket"),
        ("a:\n\tb: 1\n", "c.yml:2: this is no YAML: tabs"),
        ("a: 1\n---\nb: 2\n", "c.yml:3: a second document begins here; one is accepted"),
        ("a: &x [*x]\n", "c.yml:1: an alias stands inside of what it names"),
        ("a: 1\nb: *nobody\n", "c.yml:2: this is no YAML: "),
        ("a: \"\0\"\n", "c.yml:1: this is no YAML: "),
        (bomb.as_str(), "holds too much; 250000 values"),
        (&format!("a: {}{}", "[".repeat(100), "]".repeat(100)), "holds too much; 250000 values in 16 levels"),
        (&format!("{}{}", "[".repeat(5000), "]".repeat(5000)), "c.yml:1: this is no YAML: "),
        (&"#".repeat(MAX_TEXT + 1), "c.yml: is too large; 4 MiB at most are accepted"),
    ] {
        let (tree, problems) = parsed(bad);
        assert_eq!(tree.kind, Kind::Map(Vec::new()), "{problems}");
        assert!(problems.contains(expected) && problems.lines().count() == 1, "{expected}: {problems}");
    }
}

#[test]
fn duplicate_keys_are_found_wherever_they_are() {
    let (_, problems) = parsed("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 4\n\"a\": 5\n");
    assert_eq!(
        problems,
        "c.yml:5: b.c: is there twice, first at c.yml:3; once is accepted\n\
         c.yml:6: a: is there twice, first at c.yml:1; once is accepted\n\
         c.yml:7: a: is there twice, first at c.yml:1; once is accepted"
    );
}

#[test]
fn keys_need_not_be_texts_to_be_named() {
    let (tree, problems) = parsed("1: a\nnull: b\n[c]: d\ntrue: e\n");
    assert_eq!(problems, "");
    for (key, line) in [("1", 1), ("null", 2), ("a list", 3), ("true", 4)] {
        assert_eq!(line_of(&tree, key), line, "{key}");
    }
}

#[test]
fn variables_are_scalars_or_flow_lists() {
    let origin = Origin::Environment("X".into());
    for (text, kind) in [
        ("4", Kind::Int(4)),
        ("1.5", Kind::Float(1.5)),
        ("null", Kind::Null),
        ("true", Kind::Bool(true)),
        ("", Kind::Text(String::new())),
        ("127.0.0.1:80", Kind::Text("127.0.0.1:80".into())),
        ("[::1]:80", Kind::Text("[::1]:80".into())),
        ("5s", Kind::Text("5s".into())),
    ] {
        assert_eq!(parse_scalar(text, origin.clone()).kind, kind, "{text}");
    }
    let list = parse_scalar("[443, 8443]", origin.clone());
    assert!(matches!(&list.kind, Kind::List(members) if members.len() == 2 && members[0].origin == origin));
}

#[test]
fn what_is_overridden_is_kept_beneath() {
    let (mut tree, _) = parsed("a:\n  b: 1\n");
    tree.set("a.b", Value::new(Kind::Int(2), Origin::Flag("--b")));
    tree.set("c.d", Value::new(Kind::Int(3), Origin::Flag("--d")));
    let kinds: Vec<_> = tree.get("a.b").unwrap().layers().map(|value| value.kind.clone()).collect();
    assert_eq!(kinds, [Kind::Int(2), Kind::Int(1)]);
    assert_eq!(tree.get("c.d").unwrap().layers().count(), 1);
}
