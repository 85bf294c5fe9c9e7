pub mod credential_process;
pub mod endpoint;
pub mod state_file;
