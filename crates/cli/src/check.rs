//! `flowmeter check`: finds mistakes in pipelines, or prints their meaning.

use std::process::ExitCode;

use crate::args::Check;
use crate::failure::{self, INVALID, PARKED};
use crate::load;

pub(crate) fn check(check: &Check) -> anyhow::Result<ExitCode> {
    let (mut sound, mut warned) = (true, false);
    for (i, path) in check.pipelines.iter().enumerate() {
        match load::document(path) {
            Ok(pipeline) => {
                load::warn(path, &pipeline);
                warned |= !pipeline.warnings.is_empty();
                if check.quiet {
                    continue;
                }
                let separator = if i > 0 { "---\n" } else { "" };
                failure::print(&format!("{separator}{}", pipeline.effective()))?;
            }
            Err(why) => {
                sound = false;
                failure::print_problems(path, &why);
            }
        }
    }
    Ok(match (sound, check.strict && warned) {
        (false, _) => ExitCode::from(INVALID),
        (true, true) => ExitCode::from(PARKED),
        (true, false) => ExitCode::SUCCESS,
    })
}
