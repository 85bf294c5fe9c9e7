//! What stands in litestream.yml that Litestream itself does not tell. It is looked for line by
//! line: whatever these keys mean, they mean it anywhere in the file.

/// Something to be said of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concern {
    /// Keys that go before those of the environment.
    PermanentKeys,
    /// `dir:`
    Directory,
    /// `exec:`
    Executes,
}

/// What there is, and the first line of each, counted from one. No value is told: it may be a key.
pub fn concerns(text: &str) -> Vec<(Concern, usize)> {
    let mut found: Vec<(Concern, usize)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some(concern) = concern(line) else { continue };
        if !found.iter().any(|(known, _)| *known == concern) {
            found.push((concern, number + 1));
        }
    }
    found.sort();
    found
}

fn concern(line: &str) -> Option<Concern> {
    let line = line.trim_start().trim_start_matches("- ").trim_start();
    let (key, value) = line.split_once(':')?;
    let key = key.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
    // A comment begins at the value's start or after a space.
    let value = if value.trim_start().starts_with('#') { "" } else { value };
    let value = value.split(" #").next().unwrap_or_default().trim();
    let is_set = !value.is_empty() && !matches!(value, "\"\"" | "''" | "~" | "null");
    match key.as_str() {
        "access-key-id" | "secret-access-key" if is_set => Some(Concern::PermanentKeys),
        "url" if has_keys(value) => Some(Concern::PermanentKeys),
        "dir" if is_set => Some(Concern::Directory),
        "exec" if is_set => Some(Concern::Executes),
        _ => None,
    }
}

fn has_keys(url: &str) -> bool {
    let small = url.to_ascii_lowercase().replace(['-', '_'], "");
    small.contains("accesskeyid=") || small.contains("secretaccesskey=")
}

/// Versions that are known for a fault, the first and the last of each; where it was seen or is
/// told of.
const KNOWN: &[([u32; 3], [u32; 3], &str)] = &[
    ([0, 5, 0], [0, 5, 4], "they were not tried with edgerotate"),
    (
        [0, 5, 5],
        [0, 5, 5],
        "it has no `replicate -once`, so that no forced snapshot mends a replica",
    ),
    (
        [0, 5, 6],
        [0, 5, 8],
        "it stops reading when the WAL begins anew (litestream issues 1083, 1087, 1169, 1175)",
    ),
];

/// What is known against a version.
pub fn known_against(version: &str) -> Option<&'static str> {
    let numbers = version.split(['.', '-', '+']).take(3).map(|part| part.parse().ok());
    let numbers: Option<Vec<u32>> = numbers.collect();
    let version: [u32; 3] = numbers?.try_into().ok()?;
    KNOWN
        .iter()
        .find(|(first, last, _)| (*first..=*last).contains(&version))
        .map(|(.., what)| *what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_litestream_does_not_tell() {
        let text = "\
# access-key-id: no
addr: 127.0.0.1:9090
access-key-id: AKIA1
secret-access-key: x
dbs:
  - dir: /data
    pattern: '*.db'
  - path: /data/a.db
    meta-dir: /elsewhere
exec: \"/usr/bin/app -x\"
";
        let found = [(Concern::PermanentKeys, 3), (Concern::Directory, 6), (Concern::Executes, 10)];
        assert_eq!(concerns(text), found);
    }

    #[test]
    fn knows_keys_wherever_they_stand() {
        for line in [
            "access-key-id: ${KEY}",
            "      - access-key-id: AKIA1",
            "  \"secret-access-key\": 'x'",
            "  - url: s3://bucket/path?access-key-id=AKIA1&secret-access-key=x",
            "url: s3://bucket/path?accessKeyId=AKIA1",
        ] {
            assert_eq!(concern(line), Some(Concern::PermanentKeys), "{line}");
        }
        for line in [
            "access-key-id:",
            "access-key-id: ''",
            "access-key-id: # none",
            "#access-key-id: AKIA1",
            "url: s3://bucket/path?endpoint=x",
            "directory: x",
            "path: /data/dir: x",
            "",
        ] {
            assert_eq!(concern(line), None, "{line}");
        }
    }

    #[test]
    fn knows_the_versions_to_stay_away_from() {
        for bad in ["0.5.0", "0.5.5", "0.5.6", "0.5.8", "0.5.7-beta1"] {
            assert!(known_against(bad).is_some(), "{bad}");
        }
        for good in ["0.3.13", "0.5.9", "0.5.17", "0.6.0", "1.0.0", "(development build)", ""] {
            assert_eq!(known_against(good), None, "{good}");
        }
    }
}
