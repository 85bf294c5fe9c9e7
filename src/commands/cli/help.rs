//! What `--help` prints.

use super::arguments::Topic;
use crate::settings::SETTINGS;

/// What a terminal shows without breaking lines.
const WIDTH: usize = 100;

const USAGE: &str = "\
edgerotate keeps short-lived AWS credentials fresh from a key that never leaves the HSM,
hands them to Litestream, and writes a heartbeat into SQLite.

Usage: edgerotate <command> [--config FILE]...

Commands:
  run      the daemon: rotate the credentials, restart Litestream, write the heartbeat
  fetch    ask the provider once, now, and say what came or what is wrong; shows no secret
  check    go through everything the device needs: ok, or what is wrong and what to do
  status   what the daemon does now: credentials, next rotation, last error, heartbeat, replica
  verify   restore the replica and compare: whole, rows missing (which), behind, or too early to
           tell
  mend     before Litestream starts: make a new snapshot of a replica that may lack rows
  credential-process
           print the daemon's credentials, for a program whose AWS profile names this command

Options:
  --config FILE         read the settings from FILE instead of the three usual files; again for
                        more, later ones win; the environment wins over all
  --device-config FILE  the device's own settings, which need not be there, after the others
  --json                for check, status and verify: the answer as JSON
  --watch               for status: again each second, until Ctrl-C
  -h, --help            this text, or that of a command with its exit codes;
                        `edgerotate run --help` lists every setting
  -V, --version         the version
";

const LAYERS: &str = "\
Settings are KEY=value lines, as in a systemd EnvironmentFile, from these places; later ones win:
  /usr/lib/edgerotate/hsm.env          what the HSM's set of units brings, if there is one
  /usr/lib/edgerotate/edgerotate.env   the image's
  /etc/edgerotate/edgerotate.env       the administrator's
  /data/edgerotate/device.env          the device's own
  the environment
";

const CHECK_OPTIONS: &str = "  --config-only   the settings' files alone, without a look at \
 anything else: for the build of an
                  image
  --gate          for an update: fails only for what an image can break
  --patience SECONDS
                  how long the gate waits for what may be late after a boot: 300 at most, and by
                  default
  --pin-changed   forget that the token refused the PIN, before all else: it will be tried again
  --json          the same for a program
";

/// The help of a command.
struct Page {
    usage: &'static str,
    /// A paragraph each; one that begins with a blank is as it is.
    text: &'static [&'static str],
    exit_codes: &'static [(u8, &'static str)],
}

const LISTED: &str = "`edgerotate run --help` lists the settings.";
const NOT_UNDERSTOOD: (u8, &str) = (64, "the command line was not understood");
const NOT_WRITTEN: (u8, &str) = (74, "standard output could not be written");

const RUN: Page = Page {
    usage: "edgerotate run [--config FILE]...",
    text: &["The daemon. It ends on SIGTERM, and does not fork; systemd's Type=notify fits."],
    exit_codes: &[
        (0, "stopped by a signal"),
        NOT_UNDERSTOOD,
        (69, "a part of this device is broken, such as a directory that can't be written"),
        (75, "another one is running"),
        (78, "the settings are wrong; the unit does not restart on it"),
    ],
};

const FETCH: Page = Page {
    usage: "edgerotate fetch [--config FILE]...",
    text: &[
        "Asks the credential provider once, with the settings of the daemon, and prints who was \
         asked, how long the \
         credentials live and how this device's clock compares. The credentials are thrown away. \
         It waits for a daemon \
         that uses the token at this moment.",
        LISTED,
    ],
    exit_codes: &[
        (0, "credentials came"),
        NOT_UNDERSTOOD,
        (69, "a part of this device is broken: a file, the PKCS#11 module, the token"),
        NOT_WRITTEN,
        (75, "provider, network or clock away: try later"),
        (77, "not permitted: by the provider, the token (PIN) or the file system"),
        (78, "the settings are wrong, here or in AWS"),
    ],
};

const CHECK: Page = Page {
    usage: "edgerotate check [--config FILE]... [--config-only | --gate] [--pin-changed] [--json]",
    text: &[
        "Goes through everything the device needs, each step on a line of its own: settings, files \
         and their rights, \
         PKCS#11 module, token, PIN, key, certificate, endpoint, role alias, clock, database, \
         Litestream, guard. What is \
         wrong has what to do about it on the next line. It changes nothing, and asks the provider \
         once; where the daemon \
         runs, its findings are taken instead. Run it as the daemon's user.",
        CHECK_OPTIONS,
        LISTED,
    ],
    exit_codes: &[
        (0, "nothing is wrong; there may be warnings"),
        NOT_UNDERSTOOD,
        (69, "a part of this device is broken, or a replica is suspect"),
        NOT_WRITTEN,
        (75, "provider, network or clock away, or a signal ended it: try later"),
        (77, "not permitted: by the provider, the token (PIN) or the file system"),
        (
            78,
            "the settings are wrong, here, in litestream.yml or in AWS; counts before 69, 77 and \
             75",
        ),
    ],
};

const STATUS: Page = Page {
    usage: "edgerotate status [--config FILE]... [--json] [--watch]",
    text: &[
        "Shows what the daemon does: what is wrong and what to do about it, then credentials, next \
         fetch, last error, \
         Litestream, heartbeat, guard and replica. It reads what the daemon wrote down in the \
         runtime directory, asks \
         nobody, and works also when the daemon is down or the settings are wrong. NO_COLOR is \
         respected.",
        LISTED,
    ],
    exit_codes: &[
        (0, "nothing is wrong; there may be something to know"),
        NOT_UNDERSTOOD,
        (
            69,
            "the daemon does not run; Litestream does not, or does not get the credentials; \
             heartbeats fail; a replica is \
             suspect; or the last fetch's cause",
        ),
        NOT_WRITTEN,
        (
            75,
            "no valid credentials, the clock is far off, the replica is behind, or too early to \
             tell",
        ),
        (77, "not permitted: the last fetch, or this user to read what the daemon wrote down"),
        (78, "the settings are wrong, or the last fetch's cause"),
    ],
};

const VERIFY: Page = Page {
    usage: "edgerotate verify [--config FILE]... [--json]",
    text: &[
        "Restores the heartbeat's database from its replica into the state directory, with \
         Litestream and the credentials \
         it has, and compares the heartbeats' ids with the live ones; then, one after the other, \
         the databases in \
         EDGEROTATE_GUARD_DATABASES that litestream.yml names, row by row. Whole: none is missing. \
         Rows missing: these \
         never arrived. Behind: newer heartbeats wait longer than EDGEROTATE_VERIFY_MAX_LAG. \
         Nothing is changed, and what \
         was restored is removed.",
        LISTED,
    ],
    exit_codes: &[
        (0, "whole"),
        NOT_UNDERSTOOD,
        (
            65,
            "rows are missing in the replica, or it can't be restored soundly; counts before the \
             others",
        ),
        (69, "Litestream can't be run, the database can't be read, or there is no room"),
        NOT_WRITTEN,
        (75, "behind, too early to tell, S3 or credentials away, or a signal ended it"),
        (77, "not permitted: by S3 or the file system"),
        (78, "the settings, litestream.yml or the bucket's name are wrong"),
    ],
};

const CREDENTIAL_PROCESS: Page = Page {
    usage: "edgerotate credential-process [--config FILE]...",
    text: &[
        "Prints the daemon's credentials as AWS SDKs read them. In the profile of a program:",
        "  credential_process = /usr/bin/edgerotate credential-process\n",
        "A program of another user than edgerotate's needs EDGEROTATE_CLIENT_DIRECTORY. Without a \
         daemon the provider is \
         asked, and the answer is kept in XDG_RUNTIME_DIR for the next time.",
        LISTED,
    ],
    exit_codes: &[
        (0, "credentials were printed"),
        NOT_UNDERSTOOD,
        (69, "a part of this device is broken: a file, the PKCS#11 module, the token"),
        NOT_WRITTEN,
        (75, "the daemon has none now; without one: provider, network or clock away"),
        (77, "what the daemon has may not be read; without one: not permitted, as for a fetch"),
        (78, "the settings are wrong, here or in AWS"),
    ],
};

const MEND: Page = Page {
    usage: "edgerotate mend [--config FILE]...",
    text: &[
        "For what starts Litestream (ExecStartPre=-/usr/bin/edgerotate mend), to be run before \
         each start with \
         Litestream's user and environment. Asks the daemon whether a replica may lack rows; if \
         so, makes a forced \
         snapshot. Where nothing is to be done, or no daemon runs, it ends at once.",
        LISTED,
    ],
    exit_codes: &[
        (0, "nothing is to be done, or a snapshot was made"),
        NOT_UNDERSTOOD,
        (69, "it could not begin"),
        (75, "a snapshot is still wanted"),
    ],
};

/// The text that `--help` prints.
pub fn help(topic: &Topic) -> String {
    match topic {
        Topic::All => USAGE.to_owned(),
        Topic::Run => page(&RUN, &format!("{LAYERS}\n{}", settings())),
        Topic::Fetch => page(&FETCH, ""),
        Topic::Check => page(&CHECK, ""),
        Topic::Status => page(&STATUS, ""),
        Topic::Verify => page(&VERIFY, ""),
        Topic::CredentialProcess => page(&CREDENTIAL_PROCESS, ""),
        Topic::Mend => page(&MEND, ""),
    }
}

fn page(page: &Page, more: &str) -> String {
    let mut text = format!("Usage: {}\n", page.usage);
    for paragraph in page.text {
        text.push('\n');
        text += &if paragraph.starts_with(' ') {
            (*paragraph).to_owned()
        } else {
            wrap("", "", paragraph)
        };
    }
    if !more.is_empty() {
        text += &format!("\n{more}");
    }
    text += "\nExit codes:\n";
    for (code, meaning) in page.exit_codes {
        text += &wrap(&format!("  {code:<2}  "), "      ", meaning);
    }
    text
}

/// Every setting, with what it takes.
fn settings() -> String {
    let mut text = String::new();
    for setting in SETTINGS {
        let article_name = setting.article_name.map(|name| format!(" (or {name})"));
        text += &format!("  {}{}\n", setting.name, article_name.unwrap_or_default());
        let indent = "      ";
        text += &wrap(indent, indent, &setting.help.replace('`', ""));
        text += &match setting.default {
            "required" => format!("{indent}required\n"),
            default => wrap(indent, indent, &format!("default: {}", default.replace('`', ""))),
        };
    }
    text
}

/// A paragraph in lines that a terminal shows whole; the first begins in another way than the rest.
fn wrap(first: &str, rest: &str, text: &str) -> String {
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines += &format!("{line}\n");
            line = rest.to_owned();
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += word;
        is_empty = false;
    }
    lines + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPICS: [Topic; 8] = [
        Topic::All,
        Topic::Run,
        Topic::Fetch,
        Topic::Check,
        Topic::Status,
        Topic::Verify,
        Topic::CredentialProcess,
        Topic::Mend,
    ];

    #[test]
    fn help_fits_a_terminal() {
        for topic in TOPICS {
            for line in help(&topic).lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
        }
    }

    #[test]
    fn an_option_begins_a_line() {
        let help = help(&Topic::Check);
        for option in ["--config-only", "--gate", "--patience SECONDS", "--pin-changed", "--json"] {
            assert!(help.contains(&format!("\n  {option}")), "{option}: {help}");
        }
    }

    #[test]
    fn help_has_every_setting() {
        let help = help(&Topic::Run);
        for setting in SETTINGS {
            assert!(help.contains(&format!("\n  {}", setting.name)), "{}", setting.name);
        }
        // Marks of the README's language; a command in a sentence has them here as well.
        let settings = help.split("the environment\n").nth(1).unwrap();
        assert!(!settings.contains('`'), "{settings}");
    }

    #[test]
    fn a_command_has_the_exit_codes_that_the_readme_has() {
        let readme = include_str!("../../../README.md");
        let (_, table) = readme.split_once("\n## Exit codes\n").unwrap();
        let rows = table.lines().skip_while(|line| !line.starts_with("| 0 ")).map_while(|line| {
            let cells: Vec<_> = line.strip_prefix("| ")?.split('|').map(str::trim).collect();
            Some((cells[0].parse::<u8>().unwrap(), cells[1..5].to_vec()))
        });
        let rows: Vec<_> = rows.collect();
        for (at, page) in [RUN, FETCH, VERIFY, STATUS].iter().enumerate() {
            let has = |(code, cells): &(u8, Vec<&str>)| (!cells[at].is_empty()).then_some(*code);
            let in_readme: Vec<u8> = rows.iter().filter_map(has).collect();
            let own: Vec<u8> = page.exit_codes.iter().map(|(code, _)| *code).collect();
            assert_eq!(own, in_readme, "{}", page.usage);
        }
    }
}
