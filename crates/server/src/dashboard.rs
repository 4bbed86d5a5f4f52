//! The dashboard: the files of its pages, and the sign-in of browsers.
//!
//! The pages are an application of their own that calls the API like any other client. This
//! module serves its files under a strict content policy and turns a key into a cookie that scripts
//! cannot read.

mod files;
mod sign_in;

pub(crate) use files::serve;
pub(crate) use sign_in::{endpoints, principal};
