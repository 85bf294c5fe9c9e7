pub mod check;
pub mod cli;
pub mod fetch;
pub mod run;
pub mod status;
