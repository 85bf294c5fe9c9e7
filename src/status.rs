//! `edgerotate status`: what the daemon does, for a person and for programs.

pub mod record;
