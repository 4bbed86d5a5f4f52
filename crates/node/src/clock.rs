//! The clock of the node: a test clock that people move, and the check of the machine's clock.

mod check;
mod moving;
