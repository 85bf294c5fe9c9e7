//! The parent's side: modules that hang, crash and shout.
