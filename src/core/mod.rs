//! What decides: state machines and rules that read no clock, file, socket or environment.

pub mod guard;
