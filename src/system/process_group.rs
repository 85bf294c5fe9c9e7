//! A command and all that it started, ended together.

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// Kills a process group when it is dropped, unless it was let go: a script's children must not
/// outlive the attempt that they belong to, and run beside the next one.
#[derive(Debug)]
pub struct KillOnDrop(Option<Pid>);

impl KillOnDrop {
    /// The group that the process `leader` leads; nothing without a leader.
    pub fn led_by(leader: Option<u32>) -> Self {
        Self(leader.and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    /// The group may live on: its leader ended as it should.
    pub fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // A group that is gone is what is wanted; one that belongs to root (sudo) can't be
            // killed.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
