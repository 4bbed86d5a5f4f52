//! Descriptors: how many files and connections the process may have open.
//!
//! A connection is refused or waits; a file that cannot be opened stops a pipeline. So
//! connections get only what files leave.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that connections leave to files: the log, the catalog and the event store take
/// about twenty, a pipeline about ten and two more for each question and each run that is
/// read. 512 are enough for thirty pipelines with many readers.
const FILES_RESERVED: u64 = 512;

/// Raises the soft limit of descriptors to the hard one.
///
/// Returns the limit in force; nothing if there is none.
pub fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let is_raised = current != maximum && setrlimit(Resource::Nofile, raised).is_ok();
    if is_raised { maximum } else { current }
}

/// Returns how many connections a limit of descriptors leaves room for. Of a small limit, files
/// get a half.
pub fn room(limit: Option<u64>) -> u64 {
    limit.map_or(u64::MAX, |limit| limit - FILES_RESERVED.min(limit / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_files_leave() {
        let large = [(None, u64::MAX), (Some(1_048_576), 1_048_064), (Some(1_024), 512)];
        let small = [(Some(256), 128), (Some(1), 1)];
        let cases = large.into_iter().chain(small);
        for (limit, expected) in cases {
            assert_eq!(room(limit), expected, "{limit:?}");
        }
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        raise();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }
}
