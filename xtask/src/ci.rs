//! placeholder
pub(crate) fn ci(_: &std::path::Path)->anyhow::Result<()>{Ok(())}
