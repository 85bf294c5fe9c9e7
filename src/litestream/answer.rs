//! What Litestream printed, and what in it is of use. The generations differ: 0.3 logs to standard
//! output once it has read its configuration, 0.5 prints one line to standard error.

use std::{path::PathBuf, process::ExitStatus};

use zeroize::Zeroizing;

use crate::problems::trouble::Trouble;

/// AWS's keys have 40 characters, and tokens hundreds.
const SHORTEST_SECRET: usize = 8;

/// Of its last line, so much is shown.
const LONGEST_LINE: usize = 600;

/// What a run of it printed, and how it ended.
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// With every credential struck out, whatever Litestream or S3 may have repeated of them.
    pub fn without(mut self, credentials: &[(String, Zeroizing<String>)]) -> Self {
        for (name, value) in credentials {
            // An empty one is in every text; so short a one is no credential.
            let is_secret = name.contains("SECRET") || name.contains("TOKEN");
            if is_secret && value.len() >= SHORTEST_SECRET {
                for text in [&mut self.stdout, &mut self.stderr] {
                    *text = text.replace(value.as_str(), "[secret]");
                }
            }
        }
        self
    }

    pub fn trouble(&self) -> Trouble {
        // 0.3 logs to standard output what it finds after it has read its configuration.
        let last = |text: &str| text.lines().rfind(|line| !line.trim().is_empty()).map(error_in);
        match last(&self.stderr).or_else(|| last(&self.stdout)) {
            Some(line) => Trouble::of_litestream(&line),
            None => Trouble::of_litestream(&format!("{}, without a word", self.status)),
        }
    }
}

/// The error in a line: after `Error: ` in 0.5, in `error="…"` of a log line in 0.3.
fn error_in(line: &str) -> String {
    let words = match line.split_once("error=\"") {
        Some((_, quoted)) => {
            let quoted = quoted.rsplit_once('"').map_or(quoted, |(text, _)| text);
            quoted.replace("\\n\\t", ", ").replace("\\n", ", ").replace("\\\"", "\"")
        }
        None => line.trim_start_matches("Error: ").to_owned(),
    };
    let plain: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match plain.char_indices().nth(LONGEST_LINE) {
        Some((end, _)) => format!("{}…", &plain[..end]),
        None => plain,
    }
}

/// The paths in the table that `litestream databases` prints: the first column, as wide as its
/// heading says.
pub fn databases(table: &str) -> Vec<PathBuf> {
    let mut lines = table.lines();
    let width = lines.next().and_then(|heading| heading.find("replica")).unwrap_or(0);
    lines
        .map(|line| line.chars().take(width).collect::<String>().trim_end().to_owned())
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn finds_the_error_in_either_generations_line() {
        let old = r#"time=2026-11-22T13:11:32.660Z level=ERROR msg="failed to run" error="cannot fetch generations: NoSuchBucket: \"x\"\n\tstatus code: 404, request id: , host id: ""#;
        assert_eq!(
            error_in(old),
            "cannot fetch generations: NoSuchBucket: \"x\", status code: 404, request id: , host \
             id: "
        );
        assert_eq!(
            error_in("Error: no matching backup files available"),
            "no matching backup files available"
        );
        assert_eq!(error_in(&"é".repeat(2000)).chars().count(), LONGEST_LINE + 1);
        assert_eq!(error_in("a\u{1b}[2Jb"), "a [2Jb");
    }

    #[test]
    fn reads_the_list_of_databases() {
        let old = "path            replicas\n/data/a b.db    s3,file\n/data/c.db      \n";
        assert_eq!(databases(old), [Path::new("/data/a b.db"), Path::new("/data/c.db")]);
        let new = "path        replica\n/data/c.db  s3\n";
        assert_eq!(databases(new), [Path::new("/data/c.db")]);
        assert_eq!(databases(""), [""; 0].map(PathBuf::from));
    }

    #[test]
    fn strikes_out_the_credentials() {
        let answer = Output {
            status: ExitStatus::default(),
            stdout: String::new(),
            stderr: "Error: AccessDenied for s3cr3t/+ with t0k3n14==\n".to_owned(),
        };
        let credentials = [
            ("AWS_SECRET_ACCESS_KEY", "s3cr3t/+"),
            ("AWS_SESSION_TOKEN", "t0k3n14=="),
            ("AWS_SESSION_TOKEN", ""),
        ]
        .map(|(name, value)| (name.to_owned(), Zeroizing::new(value.to_owned())));
        let trouble = answer.without(&credentials).trouble();
        assert_eq!(trouble.what, "litestream: AccessDenied for [secret] with [secret]");
    }
}
