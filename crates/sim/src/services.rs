//! A service that operators ask. It answers, refuses and fails: the outcome depends on nothing but
//! chance, so only recorded answers can make a replay equal.

use std::sync::{Mutex, PoisonError};

use flowmeter_core::mediation::{Asked, Services};
use flowmeter_core::operator::HttpAnswer;

use crate::random::Random;

/// The service of all pipelines of a history.
#[derive(Debug)]
pub struct Liar(Mutex<Random>);

impl Liar {
    pub fn new(random: Random) -> Liar {
        Liar(Mutex::new(random))
    }
}

impl Services for Liar {
    fn ask(&self, asked: &[Asked<'_>]) -> Vec<HttpAnswer> {
        let mut random = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answer = || match random.below(10) {
            0 => HttpAnswer::Unavailable("it is away".to_owned()),
            1 => HttpAnswer::Refused("404 Not Found: refused".to_owned()),
            tier => HttpAnswer::Answered(format!(r#"{{"status":200,"headers":{{}},"body":{{"tier":"t{}"}}}}"#, tier % 4).into()),
        };
        asked.iter().map(|_| answer()).collect()
    }
}
