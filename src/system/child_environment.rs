//! What programs that edgerotate starts may know of its environment: a list, not what is left after
//! striking some.
//!
//! The daemon's environment can hold a PIN (in a setting, or by a name that nobody thought of), and
//! what is started goes on handing it to others.

use std::{env, ffi::OsString};

/// What any program needs: where programs, its user's files, words and time zones are.
pub const PLAIN: &[&str] =
    &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// Where a program finds its session and the system's bus, as a restart command may need to.
pub const OF_SESSION: &[&str] =
    &["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS"];

/// The variables of this process that have one of these names.
pub fn listed(names: &[&[&str]]) -> Vec<(OsString, OsString)> {
    let wanted = |(name, _): &(OsString, OsString)| names.concat().iter().any(|n| name == n);
    env::vars_os().filter(wanted).collect()
}
