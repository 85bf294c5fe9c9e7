//! Root's commands, run as the user whose device state it is.
//!
//! What root does in a directory of another user that one can turn against others: a name becomes a
//! link between two calls, and a file of root's is removed, replaced or given away. And what root
//! makes there (a token's files, a lock, a mark) that user can't use any more. So a command that
//! root starts by hand becomes that user before it touches anything, as `sudo -u` would make it.
//!
//! It goes on as the process that it is: a program that is begun anew can be read, and taken over
//! with root's terminal, by that user's other processes, until it has forbidden that.

use std::{env, ffi::CString, fs, io, os::unix::fs::MetadataExt, path::PathBuf};

use nix::unistd::{Gid, Uid, User, geteuid, initgroups, setgroups, setresgid, setresuid};

use crate::system::core_dump;

/// This very program, also where its file was replaced or its path can't be reached by another
/// user.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// Whose `directories` these are, if this is root and they are not root's: the first that is there
/// and another's.
pub fn owner_to_become(directories: &[PathBuf]) -> Option<(Uid, Gid)> {
    if !geteuid().is_root() {
        return None;
    }
    let owners = directories.iter().filter_map(|directory| fs::metadata(directory).ok());
    let mut others = owners.filter(|found| found.uid() != 0);
    others.next().map(|found| (Uid::from_raw(found.uid()), Gid::from_raw(found.gid())))
}

/// Becomes that user for good: ids, groups, and the environment that tells of a user.
///
/// To be called while the process has a single thread.
///
/// # Errors
/// As the system gives them; the process may be neither user then, and has to end.
pub fn become_user(user: Uid, group: Gid) -> io::Result<()> {
    let known = User::from_uid(user).ok().flatten();
    match &known {
        Some(known) => {
            initgroups(&CString::new(known.name.as_str())?, known.gid)?;
            setresgid(known.gid, known.gid, known.gid)?;
        }
        // Nobody by that number: what the directory's group may is enough.
        None => {
            setgroups(&[group])?;
            setresgid(group, group, group)?;
        }
    }
    setresuid(user, user, user)?;
    // The kernel sets this anew with the user, to what fs.suid_dumpable says.
    core_dump::forbid()?;
    set_environment(known.as_ref());
    Ok(())
}

#[allow(unsafe_code, reason = "the environment is the process's, and has no safe setter")]
fn set_environment(user: Option<&User>) {
    // SAFETY: the process has a single thread, so nobody reads the environment meanwhile.
    unsafe {
        env::remove_var("XDG_RUNTIME_DIR");
        if let Some(user) = user {
            env::set_var("HOME", &user.dir);
            env::set_var("USER", &user.name);
            env::set_var("LOGNAME", &user.name);
        }
    }
}

/// Its name in /etc/passwd, or its number: other sources of names may be asked over the network,
/// and not answer.
pub fn local_name(user: Uid) -> String {
    let passwd = fs::read("/etc/passwd").unwrap_or_default();
    name_in(&String::from_utf8_lossy(&passwd), user).unwrap_or_else(|| user.to_string())
}

fn name_in(passwd: &str, user: Uid) -> Option<String> {
    passwd.lines().find_map(|line| {
        // NAME:PASSWORD:UID:… (passwd(5))
        let mut words = line.split(':');
        let name = words.next().filter(|name| !name.is_empty())?;
        let is_it = words.nth(1)?.parse() == Ok(user.as_raw());
        is_it.then(|| name.to_owned())
    })
}

/// Its name, or its number where it has none. This may take its time: names can be on another
/// machine.
pub fn name(user: Uid) -> String {
    match User::from_uid(user) {
        Ok(Some(user)) => user.name,
        _ => user.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_by_its_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\nbroken\n+::::::\n\
                      edgerotate:x:990:990::/:/bin/false\nagain:x:990:990::/:\n";
        let name = |number| name_in(passwd, Uid::from_raw(number));
        assert_eq!(name(0).as_deref(), Some("root"));
        assert_eq!(name(990).as_deref(), Some("edgerotate"));
        assert_eq!(name(991), None);
        assert_eq!(local_name(Uid::from_raw(4_000_000_001)), "4000000001");
    }
}
