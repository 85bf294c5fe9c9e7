pub mod failure;
pub mod finding;
pub mod kinds;
pub(crate) mod trouble;
