//! Claims: within the program, each log has one owner at a time.
//!
//! The lock of the data directory keeps other programs out. A claim keeps the same program from
//! opening a log twice: the second owner would cut off entries that the first is still writing.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Error, Kind};

/// The claimed names of a disk. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Claims(Arc<Mutex<BTreeSet<String>>>);

/// The exclusive use of a name while the value lives.
#[derive(Debug)]
pub struct Claim {
    claims: Claims,
    name: String,
}

impl Claims {
    fn change<T>(&self, change: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Claims a name.
    ///
    /// # Errors
    /// `Unavailable` until the present owner has dropped its claim.
    pub fn take(&self, name: &str) -> Result<Claim, Error> {
        if self.change(|names| names.insert(name.to_owned())) {
            return Ok(Claim { claims: self.clone(), name: name.to_owned() });
        }
        Err(Error::new(Kind::Unavailable, format!("{name} is open already, and has one owner at a time; try again")))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.change(|names| names.remove(&self.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_owner_at_a_time() {
        let claims = Claims::default();
        let first = claims.take("p/records").unwrap();
        let _other = claims.take("p/parked").unwrap();
        let refused = claims.take("p/records").unwrap_err();
        assert_eq!(refused.kind, Kind::Unavailable);
        assert_eq!(refused.to_string(), "p/records is open already, and has one owner at a time; try again");
        drop(first);
        claims.take("p/records").unwrap();
    }
}
