use std::{fmt::Write as _, fs, process::Command};

use super::*;

fn read(text: &str) -> Vec<(usize, String, String)> {
    let parsed = parse(text.as_bytes());
    assert_eq!(parsed.errors, [], "{text:?}");
    let assignment = |a: Assignment| (a.line, a.key, a.value.expose().to_owned());
    parsed.assignments.into_iter().map(assignment).collect()
}

/// The value of a line that has one; read from the middle of a file, so that its end counts.
fn value(text: &str) -> String {
    let read = read(&format!("BEFORE=1\nKEY={text}\nAFTER=2\n"));
    assert_eq!(read.len(), 3, "{text:?}: {read:?}");
    read[1].2.clone()
}

#[test]
fn values_are_read_as_systemd_reads_them() {
    for (text, expected) in [
        ("plain", "plain"),
        ("", ""),
        ("  blanks around  ", "blanks around"),
        ("\tand tabs\t", "and tabs"),
        ("a=b", "a=b"),
        ("a # no comment", "a # no comment"),
        ("a;b", "a;b"),
        // Quotes count only before the first plain character; pieces are joined.
        ("\"quoted\"", "quoted"),
        ("'quoted'", "quoted"),
        ("\" kept \" ", " kept "),
        ("\"a\"'b'  \"c\"d", "abcd"),
        ("\"a\" b", "ab"),
        ("a\"b\"", "a\"b\""),
        ("it's", "it's"),
        ("\"\"", ""),
        ("'a\"b'", "a\"b"),
        ("\"a'b\"", "a'b"),
        ("\"two\nlines\"", "two\nlines"),
        ("'two\nlines'", "two\nlines"),
        // A backslash: outside of quotes it takes the next character as it is, …
        ("a\\b", "ab"),
        ("a\\\\b", "a\\b"),
        ("a\\ ", "a "),
        ("a\\  ", "a "),
        ("\\ a", " a"),
        ("\\\"a\"", "\"a\""),
        ("a\\n", "an"),
        ("$HOME", "$HOME"),
        // … in double quotes only before what a shell would act on, …
        (r#""a\"b\\c\$d\`e""#, "a\"b\\c$d`e"),
        (r#""a\nb""#, r"a\nb"),
        // … in single quotes never, …
        (r"'a\b\\'", r"a\b\\"),
        // … and before the end of a line it joins two of them.
        ("a\\\nb", "ab"),
        ("a\\\n  b", "a  b"),
        ("\\\nb", "b"),
        ("\"a\\\nb\"", "ab"),
        ("'a\\\nb'", "a\\\nb"),
        ("pkcs11:token=a;object=b?pin-value=1%26", "pkcs11:token=a;object=b?pin-value=1%26"),
        ("é", "é"),
    ] {
        assert_eq!(value(text), expected, "{text:?}");
    }
}

#[test]
fn systemds_own_examples() {
    // The cases of systemd's src/test/test-env-file.c, without its lines that have no =.
    let triples =
        |text| read(text).into_iter().map(|(_, k, v)| format!("{k}={v}")).collect::<Vec<_>>();
    assert_eq!(
        triples("a=a\nb=b\\\nc\nd=d\\\ne\\\nf\ng=g\\ \nh=h\ni=i\\"),
        ["a=a", "b=bc", "d=def", "g=g ", "h=h", "i=i"]
    );
    assert_eq!(triples("a=a\\\n"), ["a=a"]);
    assert_eq!(
        triples("# Generated\n\nHWMON_MODULES=\"coretemp f71882fg\"\n\n# For compatibility\n\nM=1"),
        ["HWMON_MODULES=coretemp f71882fg", "M=1"]
    );
    assert_eq!(triples("a=\nb="), ["a=", "b="]);
}

#[test]
fn lines_are_counted_where_the_assignment_begins() {
    let text = "\n# one\r\nA=1\r\n\r\n  ; two\n  B = \"x\ny\"\nC=a\\\nb\n\tD=4";
    let lines: Vec<_> = read(text).into_iter().map(|(line, key, _)| (line, key)).collect();
    assert_eq!(
        lines,
        [(3, "A".to_owned()), (6, "B".to_owned()), (8, "C".to_owned()), (10, "D".to_owned())]
    );
}

#[test]
fn what_systemd_passes_over_in_silence_is_an_error_with_its_line() {
    const NO_EQUALS: &str = "has no =: a setting is KEY=value, a comment begins with #";
    const NAME: &str = "the name before the = may hold only A-Z a-z 0-9 _ and begins with no digit";
    for (text, line, what) in [
        ("A=1\nB\nC=3", 2, NO_EQUALS),
        ("A=1\nB", 2, NO_EQUALS),
        ("=1", 1, "has no name before the ="),
        ("==1", 1, "has no name before the ="),
        ("A-B=1", 1, NAME),
        ("A B=1", 1, NAME),
        ("1A=1", 1, NAME),
        ("é=1", 1, NAME),
        ("export A=1", 1, "begins with export: this is no shell script, write KEY=value"),
        ("A='1\nB=2\n", 1, "a ' is opened here and never closed"),
        ("\nA=\"1\\\"\nB=2\n", 2, "a \" is opened here and never closed"),
        ("A=\"1\\", 1, "a \" is opened here and never closed"),
        ("A=1\nB=2\0\nC=3", 2, "has a NUL byte; nothing after it was read"),
    ] {
        let errors = parse(text.as_bytes()).errors;
        assert_eq!(errors, [(line, what.to_owned())], "{text:?}");
    }
    let errors = parse(b"A=1\nB=\xff\n\xff=1\n# \xff\n").errors;
    assert_eq!(errors, [(2, "B: is not UTF-8".to_owned()), (3, NAME.to_owned())]);
}

#[test]
fn a_comment_that_seems_to_go_on_is_pointed_out() {
    let parsed = parse(b"# a \\\nA=1\n; b \\\\\nB=2\n");
    assert_eq!(parsed.assignments.len(), 2);
    assert_eq!(parsed.warnings.len(), 1);
    assert_eq!(parsed.warnings[0].0, 1);
}

/// systemd-tmpfiles reads os-release with systemd's parser and writes a field of it into a file: so
/// the parser can be asked without a running systemd. Where there is none, there is nothing to
/// compare with.
#[test]
fn made_up_lines_are_read_as_systemds_parser_reads_them() {
    let root = std::env::temp_dir().join(format!("edgerotate-env-file-{}", std::process::id()));
    fs::create_dir_all(root.join("etc")).unwrap();
    let rules = root.join("rules.conf");
    fs::write(&rules, "f+ /value - - - - [%w]\n").unwrap();
    let ask = |text: &str| -> Option<Vec<u8>> {
        fs::write(root.join("etc/os-release"), text).unwrap();
        let _ = fs::remove_file(root.join("value"));
        let mut command = Command::new("systemd-tmpfiles");
        command.arg("--create").arg(format!("--root={}", root.display())).arg(&rules);
        command.output().ok()?;
        fs::read(root.join("value")).ok()
    };
    if ask("VERSION_ID=\"a b\"c\n").as_deref() != Some(b"[a bc]") {
        fs::remove_dir_all(&root).unwrap();
        return;
    }
    let alphabet =
        ["a", "b", "=", "#", ";", "'", "\"", "\\", " ", "\t", "\n", "\r", "$", "`", "\"\\\n"];
    let mut seed = 42u64;
    let mut compared = 0;
    for _ in 0..150 {
        let mut text = "VERSION_ID=".to_owned();
        for _ in 0..14 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            write!(text, "{}", alphabet[(seed >> 33) as usize % alphabet.len()]).unwrap();
        }
        let parsed = parse(text.as_bytes());
        // An open quote or a line without = is an error here; systemd makes something of it.
        let Some(ours) = parsed.assignments.first().filter(|_| parsed.errors.is_empty()) else {
            continue;
        };
        let ours = ours.value.expose();
        let theirs = ask(&text).unwrap_or_default();
        compared += 1;
        assert_eq!(String::from_utf8_lossy(&theirs), format!("[{ours}]"), "{text:?}");
    }
    assert!(compared > 30, "{compared}");
    fs::remove_dir_all(&root).unwrap();
}

#[test]
fn a_byte_order_mark_is_passed_over_and_said() {
    let parsed = parse("\u{feff}EDGEROTATE_LOG=info\r\n".as_bytes());
    assert_eq!(parsed.errors, []);
    assert_eq!(parsed.warnings.len(), 1);
    let [assignment] = &parsed.assignments[..] else { panic!("one assignment") };
    assert_eq!((assignment.key.as_str(), assignment.value.expose()), ("EDGEROTATE_LOG", "info"));

    let utf_16: Vec<u8> =
        [0xff, 0xfe].into_iter().chain("A=b\n".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let parsed = parse(&utf_16);
    assert!(parsed.assignments.is_empty());
    assert!(parsed.errors[0].1.starts_with("is in UTF-16"), "{:?}", parsed.errors);
}
