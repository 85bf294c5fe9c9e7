pub(crate) mod answer;
pub mod metrics;
pub mod restart;
pub(crate) mod run;
pub mod version;
