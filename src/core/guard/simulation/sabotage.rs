//! Each rule taken out in turn.
