//! The exit codes of every command, after sysexits.h.

/// All is well, or what is wrong is only worth knowing.
pub const FINE: u8 = 0;

/// The command line was not understood (EX_USAGE).
pub const USAGE: u8 = 64;

/// The replica is not what it must be: rows are missing (EX_DATAERR).
pub const DATA: u8 = 65;

/// A part of this device is broken (EX_UNAVAILABLE).
pub const DEVICE: u8 = 69;

/// The answer could not be written (EX_IOERR).
pub const NOT_WRITTEN: u8 = 74;

/// The provider, the network, S3 or the clock is away, or it is too early to tell: it passes by
/// itself (EX_TEMPFAIL).
pub const AWAY: u8 = 75;

/// The fetch child was given an order of another version of edgerotate (EX_PROTOCOL).
pub const OTHER_VERSION: u8 = 76;

/// Not permitted: by the provider, the token or the file system (EX_NOPERM).
pub const NOT_PERMITTED: u8 = 77;

/// Wrong settings, here, in litestream.yml or in AWS (EX_CONFIG).
pub const SETTINGS: u8 = 78;
