//! Errors and exit codes of the command line.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use flowmeter_document::Problems;
use flowmeter_engine::{Error, Kind};

/// Exit code: something was parked, or a test failed.
pub(crate) const PARKED: u8 = 1;
/// Exit code: two things that were compared differ.
pub(crate) const DIFFERENT: u8 = 1;
/// Exit code: wrong input.
pub(crate) const INVALID: u8 = 2;
pub(crate) const FAILED: u8 = 3;

/// Wrong input from the command line.
#[derive(Debug)]
pub(crate) struct Wrong(pub(crate) String);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

/// Prints an error and returns its exit code.
pub(crate) fn report(why: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(why) {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {why:#}");
    ExitCode::from(code(why))
}

/// Prints every problem of a document with its place, as editors read it; any other error as it is.
pub(crate) fn print_problems(file: &Path, why: &anyhow::Error) {
    match why.downcast_ref::<Problems>() {
        Some(problems) => problems.0.iter().for_each(|problem| {
            let (file, line, column) = (file.display(), problem.line, problem.column);
            eprintln!("{file}:{line}:{column}: {}: {}", problem.field, problem.message);
        }),
        None => eprintln!("error: {why:#}"),
    }
}

/// Returns the error for a status of a server: wrong input for 4xx, else a failure. 408, 425 and
/// 429 are failures too, because the same request may succeed later.
pub(crate) fn refused(status: u16, message: String) -> anyhow::Error {
    match status {
        408 | 425 | 429 => anyhow::anyhow!(message),
        400..=499 => Wrong(message).into(),
        _ => anyhow::anyhow!(message),
    }
}

/// Returns the exit code of an error.
pub(crate) fn code(why: &anyhow::Error) -> u8 {
    for cause in why.chain() {
        if cause.is::<Wrong>() || cause.is::<Problems>() {
            return INVALID;
        }
        if let Some(error) = cause.downcast_ref::<Error>() {
            return if error.kind == Kind::Invalid { INVALID } else { FAILED };
        }
    }
    FAILED
}

/// Returns whether the reader of the output has closed it.
fn is_closed_pipe(why: &anyhow::Error) -> bool {
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|why| why.kind() == std::io::ErrorKind::BrokenPipe)
    };
    why.chain().any(closed)
}

pub(crate) fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(ExitCode::SUCCESS)
}
