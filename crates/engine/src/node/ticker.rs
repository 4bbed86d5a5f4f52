//! Decides when the writer appends a tick: when something is due and no earlier tick will do it.
//!
//! A tick closes periods in every pipeline. It is due as long as a pipeline that has applied every
//! earlier tick still has something due, however old that is. A pipeline that has not yet applied
//! the newest tick waits for that one, so a slow or paused pipeline causes no second tick.

use std::sync::Arc;

use flowmeter_core::time::Timestamp;

use super::Board;

#[derive(Clone, Copy, Debug, Default)]
pub struct Ticker {
    /// The entry of the newest tick.
    newest: Option<u64>,
}

impl Ticker {
    /// Returns whether a tick is due at an instant, by the boards of the running pipelines.
    pub fn is_due<'b>(&self, now: Timestamp, boards: impl IntoIterator<Item = &'b Arc<Board>>) -> bool {
        boards.into_iter().any(|board| {
            // Read the position first: a board publishes the due instant before the position.
            let has_taken = self.newest.is_none_or(|newest| board.position() > newest);
            has_taken && board.due() <= now.nanos()
        })
    }

    /// Records the entry of a tick.
    pub fn ticked(&mut self, position: u64) {
        self.newest = Some(position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(position: u64, due: i64) -> Arc<Board> {
        let board = Board::new();
        board.show_progress(position, Timestamp::from_nanos(due));
        Arc::new(board)
    }

    #[test]
    fn a_tick_is_due_while_something_due_is_not_done() {
        let mut ticker = Ticker::default();
        let now = Timestamp::from_nanos(100);
        let cases = [
            ("nothing is due", None, vec![(5, 101)], false),
            ("something is due now", None, vec![(5, 100)], true),
            ("something was due long ago", None, vec![(5, -1_000)], true),
            ("one of two pipelines has something due", None, vec![(5, 101), (5, 7)], true),
            ("the newest tick was not taken yet", Some(5), vec![(5, 7)], false),
            ("the newest tick was taken and something is due again", Some(5), vec![(6, 7)], true),
            ("a slow pipeline does not hold up another", Some(5), vec![(2, 7), (6, 8)], true),
            ("no pipeline runs", None, vec![], false),
        ];
        for (name, newest, boards, expected) in cases {
            ticker.newest = newest;
            let boards: Vec<_> = boards.into_iter().map(|(at, due)| board(at, due)).collect();
            assert_eq!(ticker.is_due(now, &boards), expected, "{name}");
        }
    }
}
