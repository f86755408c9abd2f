use super::*;

#[test]
fn a_path_that_would_be_changed_on_the_way_is_refused() {
    let check = |path: &str, expected: bool| assert_eq!(ExecPath::new(path).is_ok(), expected, "{path}");
    check("/usr/local/sbin/isoplan", true);
    check("/opt/iso%plan-1.0/bin/isoplan", true);
    for wrong in
        ["isoplan", "/", "", "/usr//isoplan", "/usr/../isoplan", "/a b", "/a$b", "/a\"b", "/a\nb", "/a;b"]
    {
        check(wrong, false);
    }
    let path = ExecPath::new("/opt/a%b").expect("a path");
    assert_eq!((path.as_argument(), path.as_str()), ("/opt/a%%b".to_owned(), "/opt/a%b"));
}

#[test]
fn a_path_that_does_not_stay_is_known() {
    let is = |path: &str| {
        let path = ExecPath::new(path).expect("a path");
        (path.is_in_a_home(), path.is_passing())
    };
    assert_eq!(is("/home/ann/isoplan"), (true, false));
    assert_eq!(is("/root/bin/isoplan"), (true, false));
    assert_eq!(is("/srv/isoplan/target/release/isoplan"), (false, true));
    assert_eq!(is("/tmp/isoplan"), (false, true));
    assert_eq!(is("/usr/local/sbin/isoplan"), (false, false));
}

#[test]
fn a_unit_has_a_plain_name() {
    for name in ["docker.service", "podman@5.service", "dev-sda\\x2d1.mount", "my-app.target"] {
        assert!(UnitName::new(name).is_ok(), "{name}");
    }
    for name in
        ["docker", ".service", "a b.service", "a@.service", "a%i.service", "../x.service", "isoplan.service"]
    {
        assert!(UnitName::new(name).is_err(), "{name}");
    }
}

#[test]
fn lines_that_differ_are_shown_with_two_around_them() {
    let text = text_changes("a\nb\nc\nd\ne\nf\n", "a\nb\nc\nX\ne\nf\n");
    assert_eq!(text, "  b\n  c\n- d\n+ X\n  e\n  f\n");
    assert_eq!(text_changes("", "a\n"), "+ a\n");
    assert_eq!(text_changes("a\na\n", "a\n"), "  a\n- a\n");
}

#[test]
fn a_manifest_of_another_kind_is_refused() {
    let manifest = Manifest {
        installed: vec![Installed {
            path: TOPOLOGY.to_owned(),
            contents: vec![
                Content::File { text: "x\n".to_owned() },
                Content::Link { target: "/y".to_owned() },
            ],
        }],
        directories: vec!["etc/isoplan".to_owned()],
    };
    let text = manifest.to_text();
    assert_eq!(Manifest::from_text(&text), Ok(manifest));
    for wrong in [
        text.replace("\"version\": 1", "\"version\": 2"),
        text.replace(TOPOLOGY, "etc/passwd"),
        text.replace(TOPOLOGY, "etc/isoplan/../passwd"),
        text.replace(TOPOLOGY, "/etc/isoplan/x"),
        text.replace(TOPOLOGY, MANIFEST),
        text.replace("\"etc/isoplan\"", "\"usr\""),
        text.replace("made_by", "made_for"),
        text[..text.len() / 2].to_owned(),
        String::new(),
    ] {
        assert!(Manifest::from_text(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_somebody_edited_is_left() {
    let entry = |path: &str, text: &str| Entry {
        path: path.to_owned(),
        content: Content::File { text: text.to_owned() },
        why: "",
    };
    let before =
        Manifest::of(&[entry("a", "1"), entry("b", "1"), entry("c", "1"), entry("d", "1")], Vec::new());
    let is = |text: &str| Found::Content {
        content: Content::File { text: text.to_owned() },
        mode: FILE_MODE,
        own: true,
    };
    let found = |path: &str| match path {
        "a" | "c" => is("1"),
        "b" | "d" => is("edited"),
        "e" => is("foreign"),
        _ => Found::Nothing,
    };
    let of = |entries: &[Entry], force: bool| -> Vec<(String, Action)> {
        changes(entries, &before, force, found)
            .into_iter()
            .map(|change| (change.path, change.action))
            .collect()
    };
    let named = |list: &[(&str, Action)]| -> Vec<(String, Action)> {
        list.iter().map(|(path, action)| ((*path).to_owned(), *action)).collect()
    };
    use Action::{Change, Create, Force, Keep, Leave, Remove};
    let new = [entry("a", "2"), entry("b", "2"), entry("c", "1"), entry("e", "1"), entry("f", "1")];
    let expected = [("a", Change), ("b", Leave), ("c", Keep), ("e", Leave), ("f", Create), ("d", Leave)];
    assert_eq!(of(&new, false), named(&expected));
    let expected = [("a", Change), ("b", Force), ("c", Keep), ("e", Force), ("f", Create), ("d", Force)];
    assert_eq!(of(&new, true), named(&expected));
    assert_eq!(of(&[], false), named(&[("d", Leave), ("c", Remove), ("b", Leave), ("a", Remove)]));
}
