//! Trying a pipeline without counting: on given events, or on stored test data.

pub mod source;
pub mod test_data;
pub mod trial;
