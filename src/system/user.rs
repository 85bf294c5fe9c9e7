//! Root's commands, run as the user whose device state it is.
//!
//! What root does in a directory of another user that one can turn against others: a name becomes a link between two
//! calls, and a file of root's is removed, replaced or given away. And what root makes there (a token's files, a lock,
//! a mark) that user can't use any more. So a command that root starts by hand becomes that user before it touches
//! anything, as `sudo -u` would make it.

use std::{
    env,
    ffi::CString,
    fs, io,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::PathBuf,
    process::Command,
};

use nix::unistd::{Gid, Uid, User, geteuid, initgroups, setgroups, setresgid, setresuid};

/// This very program, also where its file was replaced or its path can't be reached by another user.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// Whose `directories` these are, if this is root and they are not root's: the first that is there and another's.
pub fn owner_to_become(directories: &[PathBuf]) -> Option<(Uid, Gid)> {
    if !geteuid().is_root() {
        return None;
    }
    let owners = directories.iter().filter_map(|directory| fs::metadata(directory).ok());
    let mut others = owners.filter(|found| found.uid() != 0);
    others.next().map(|found| (Uid::from_raw(found.uid()), Gid::from_raw(found.gid())))
}

/// Begins this program anew, with the same arguments, as that user. Returns only if that fails.
pub fn begin_anew_as(user: Uid, group: Gid) -> io::Error {
    let known = User::from_uid(user).ok().flatten();
    let mut command = Command::new(THIS_PROGRAM);
    // By its name in a list of processes, and not as /proc/self/exe.
    command.arg0("edgerotate");
    command.args(env::args_os().skip(1)).env_remove("XDG_RUNTIME_DIR");
    if let Some(user) = &known {
        command.env("HOME", &user.dir).env("USER", &user.name).env("LOGNAME", &user.name);
    }
    let become_it = || -> nix::Result<()> {
        match &known {
            Some(known) => {
                let name = CString::new(known.name.as_str()).map_err(|_| nix::Error::EINVAL)?;
                initgroups(&name, known.gid)?;
                setresgid(known.gid, known.gid, known.gid)?;
            }
            // Nobody by that number: what the directory's group may is enough.
            None => {
                setgroups(&[group])?;
                setresgid(group, group, group)?;
            }
        }
        setresuid(user, user, user)
    };
    match become_it() {
        Ok(()) => command.exec(),
        Err(e) => e.into(),
    }
}

/// Its name, or its number where it has none.
pub fn name(user: Uid) -> String {
    match User::from_uid(user) {
        Ok(Some(user)) => user.name,
        _ => user.to_string(),
    }
}
