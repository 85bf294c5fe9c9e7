//! What `--help` prints.

use std::fmt::Write as _;

use super::arguments::Topic;
use crate::config::help as settings_help;

const USAGE: &str = "\
edgerotate keeps short-lived AWS credentials fresh from a key that never leaves the HSM,
hands them to Litestream, and writes a heartbeat into SQLite.

Usage: edgerotate <command> [--config FILE]...

Commands:
  run      the daemon: rotate the credentials, restart Litestream, write the heartbeat
  fetch    ask the provider once, now, and say what came or what is wrong; shows no secret
  check    go through everything the device needs: ok, or what is wrong and what to do
  status   what the daemon does now: credentials, next rotation, last error, heartbeat, replica
  verify   restore the replica and compare: whole, rows missing (which), behind, or too early to tell
  mend     before Litestream starts: make a new snapshot of a replica that may lack rows
  credential-process
           print the daemon's credentials, for a program whose AWS profile names this command

Options:
  --config FILE         read the settings from FILE instead of the three usual files; again for more,
                        later ones win; the environment wins over all
  --device-config FILE  the device's own settings, which need not be there, after the others
  --json                for check, status and verify: the answer as JSON
  --watch               for status: again each second, until Ctrl-C
  -h, --help            this text; `edgerotate run --help` lists every setting
  -V, --version         the version
";

const EXIT_CODES: &str = "\
Exit codes:
  0   done; for run: stopped by a signal; for verify: whole; for check and status: nothing is wrong
  64  the command line was not understood
  65  for verify: rows are missing in the replica, or it can't be restored soundly
  69  a part of this device is broken (a file, the PKCS#11 module, the token); for check and
      status: a replica is suspect; for status: the daemon does not run, or heartbeats or the
      hand-over to Litestream fail
  74  standard output could not be written
  75  provider, network or clock away: try later; for run: another one is running; for verify:
      behind, or too early to tell
  77  not permitted: by the provider, the token (PIN) or the file system
  78  the settings are wrong, here or in AWS; the unit does not restart on it
";

const SETTINGS: &str = "\
Settings are KEY=value lines, as in a systemd EnvironmentFile, from these places; later ones win:
  /usr/lib/edgerotate/edgerotate.env   the image's
  /etc/edgerotate/edgerotate.env       the administrator's
  /data/edgerotate/device.env          the device's own
  the environment
";

const CHECK: &str = "\
Usage: edgerotate check [--config FILE]... [--config-only | --gate] [--pin-changed] [--json]

Goes through everything the device needs, each step on a line of its own: settings, files and their
rights, PKCS#11 module, token, PIN, key, certificate, endpoint, role alias, clock, database, Litestream,
guard. What is wrong has what to do about it on the next line. It changes nothing, and asks the provider
once; where the daemon runs, its findings are taken instead. Run it as the daemon's user.

  --config-only   the settings' files alone, without a look at anything else: for the build of an image
  --gate          for an update: fails only for what an image can break
  --patience SECONDS
                  how long the gate waits for what may be late after a boot: 300 at most, which it is
  --pin-changed   forget that the token refused the PIN, before all else: it will be tried again
  --json          the same for a program
";

/// The text that `--help` prints.
pub fn help(topic: &Topic) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = match topic {
        Topic::All => write!(text, "{USAGE}\n{EXIT_CODES}"),
        Topic::Run => write!(
            text,
            "Usage: edgerotate run [--config FILE]...\n\nThe daemon. It ends on SIGTERM, and does not fork; systemd's \
             Type=notify fits.\n\n{SETTINGS}\n{}\n{EXIT_CODES}",
            settings_help()
        ),
        Topic::Fetch => write!(
            text,
            "Usage: edgerotate fetch [--config FILE]...\n\nAsks the credential provider once, with the settings of the \
             daemon, and prints who was asked, how long\nthe credentials live and how this device's clock compares. \
             The credentials are thrown away. It waits for\na daemon that uses the token at this moment. `edgerotate \
             run --help` lists the settings.\n\n{EXIT_CODES}"
        ),
        Topic::Check => write!(text, "{CHECK}\n{EXIT_CODES}"),
        Topic::Status => write!(
            text,
            "Usage: edgerotate status [--config FILE]... [--json] [--watch]\n\nShows what the daemon does: what is wrong \
             and what to do about it, then credentials, next fetch, last\nerror, Litestream, heartbeat, guard and \
             replica. It reads what the daemon wrote down in the runtime\ndirectory, asks nobody, and works also when \
             the daemon is down. NO_COLOR is respected.\n\n{EXIT_CODES}"
        ),
        Topic::Verify => write!(
            text,
            "Usage: edgerotate verify [--config FILE]... [--json]\n\nRestores the heartbeat's database from its replica \
             into the state directory, with Litestream and the\ncredentials it has, and compares the heartbeats' ids \
             with the live ones; then, one after the other, the\ndatabases in EDGEROTATE_GUARD_DATABASES that \
             litestream.yml names, row by row. Whole: none is missing. Rows\nmissing: these never arrived. Behind: newer \
             heartbeats wait longer than EDGEROTATE_VERIFY_MAX_LAG. Nothing is\nchanged, and what was restored is \
             removed; the exit code is the worst. `edgerotate run --help` lists the\nsettings.\n\n{EXIT_CODES}"
        ),
        Topic::CredentialProcess => write!(
            text,
            "Usage: edgerotate credential-process [--config FILE]...\n\nPrints the daemon's credentials as AWS SDKs read \
             them. In the profile of a program:\n\n  credential_process = /usr/bin/edgerotate credential-process\n\n\
             A program of another user than edgerotate's needs EDGEROTATE_CLIENT_DIRECTORY. Without a daemon the\n\
             provider is asked, and the answer is kept in XDG_RUNTIME_DIR for the next time.\n\n{EXIT_CODES}"
        ),
        Topic::Mend => write!(
            text,
            "Usage: edgerotate mend [--config FILE]...\n\nFor what starts Litestream (ExecStartPre=-/usr/bin/edgerotate \
             mend), to be run before each start with\nLitestream's user and environment. Asks the daemon whether a \
             replica may lack rows; if so, makes a\nforced snapshot. Where nothing is to be done, or no daemon runs, it \
             ends at once.\n`edgerotate run --help` lists the settings.\n\n{EXIT_CODES}"
        ),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_a_terminal() {
        for topic in
            [Topic::All, Topic::Fetch, Topic::Check, Topic::Status, Topic::CredentialProcess]
        {
            for line in help(&topic).lines() {
                assert!(line.chars().count() <= 105, "{line}");
            }
        }
    }
}
