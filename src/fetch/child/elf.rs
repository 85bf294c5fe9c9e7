//! For which machine a library was built: the dynamic loader says "no such file" of one for another
//! machine.

use std::{fs::File, io::Read, path::Path};

/// Class (32 or 64 bits), byte order and machine, as the ELF header has them.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Machine {
    class: u8,
    order: u8,
    machine: [u8; 2],
}

/// In words, if the file is an ELF file for another machine than this program's.
pub fn other_machine(path: &Path) -> Option<String> {
    let theirs = Machine::of(path)?;
    let ours = Machine::OURS?;
    (theirs != ours)
        .then(|| format!("it is for {}, this device is {}", theirs.in_words(), ours.in_words()))
}

impl Machine {
    /// Where this program runs; None on a machine that nobody told this file about.
    const OURS: Option<Self> = {
        let machine: u16 = if cfg!(target_arch = "x86_64") {
            62
        } else if cfg!(target_arch = "aarch64") {
            183
        } else if cfg!(target_arch = "arm") {
            40
        } else if cfg!(target_arch = "x86") {
            3
        } else if cfg!(target_arch = "riscv64") {
            243
        } else {
            0
        };
        let class = if cfg!(target_pointer_width = "32") { 1 } else { 2 };
        let order = if cfg!(target_endian = "little") { 1 } else { 2 };
        if machine == 0 {
            None
        } else {
            Some(Self { class, order, machine: machine.to_ne_bytes() })
        }
    };

    fn of(path: &Path) -> Option<Self> {
        let mut header = [0; 20];
        File::open(path).ok()?.read_exact(&mut header).ok()?;
        let [0x7f, b'E', b'L', b'F', class, order, ..] = header else { return None };
        Some(Self { class, order, machine: [header[18], header[19]] })
    }

    fn in_words(self) -> String {
        let number =
            if self.order == 2 { u16::from_be_bytes } else { u16::from_le_bytes }(self.machine);
        let bits = if self.class == 1 { 32 } else { 64 };
        match number {
            3 | 62 => format!("{bits}-bit x86"),
            40 | 183 => format!("{bits}-bit ARM"),
            243 => format!("{bits}-bit RISC-V"),
            8 => format!("{bits}-bit MIPS"),
            other => format!("a {bits}-bit machine of type {other}"),
        }
    }
}
