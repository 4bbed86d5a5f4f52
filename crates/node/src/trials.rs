//! Trying a pipeline without counting: on given events, or on stored test data.

mod difference;
pub mod source;
mod steps;
pub mod test_data;
pub mod trial;
