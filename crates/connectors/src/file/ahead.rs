//! Reads a file ahead on a thread of its own.
//!
//! Cutting is done by one thread at a time. Where it is much work (decompressing, decoding columns),
//! other threads would wait for it; so it is done while they count the blocks before.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Builder;

use flowmeter_core::event::Block;
use flowmeter_engine::{Error, Kind};

use super::Cutter;

/// Blocks that are cut before they are asked for: about those of a round.
const BLOCKS_AHEAD: usize = 8;

/// A cutter that works ahead.
pub(super) enum Ahead {
    /// It was not asked for a block yet.
    Waiting(Box<dyn Cutter>),
    Running {
        blocks: Receiver<Result<Block, Error>>,
        /// Blocks whose memory is used again.
        spare: Sender<Block>,
    },
    Ended,
}

impl Ahead {
    pub(super) fn of(cutter: impl Cutter + 'static) -> Box<dyn Cutter> {
        Box::new(Ahead::Waiting(Box::new(cutter)))
    }

    fn start(mut cutter: Box<dyn Cutter>, bytes_max: usize) -> Result<Ahead, Error> {
        let (sender, blocks) = sync_channel(BLOCKS_AHEAD);
        let (spare, spares) = channel();
        let thread = Builder::new().name("reads ahead".to_owned()).spawn(move || run(&mut *cutter, bytes_max, &sender, &spares));
        thread.map_err(|why| Error::new(Kind::Unavailable, format!("no thread: {why}")))?;
        Ok(Ahead::Running { blocks, spare })
    }
}

/// Cuts blocks until the end, an error, or until the receiver is gone.
fn run(cutter: &mut dyn Cutter, bytes_max: usize, blocks: &SyncSender<Result<Block, Error>>, spares: &Receiver<Block>) {
    loop {
        let mut block = spares.try_recv().unwrap_or_default();
        block.clear();
        let cut = match cutter.cut(&mut block, bytes_max) {
            Ok(true) => Ok(block),
            Ok(false) => return,
            Err(why) => Err(why),
        };
        let is_last = cut.is_err();
        if blocks.send(cut).is_err() || is_last {
            return;
        }
    }
}

impl Cutter for Ahead {
    fn cut(&mut self, block: &mut Block, bytes_max: usize) -> Result<bool, Error> {
        if let Ahead::Waiting(_) = self
            && let Ahead::Waiting(cutter) = std::mem::replace(self, Ahead::Ended)
        {
            *self = Ahead::start(cutter, bytes_max)?;
        }
        let Ahead::Running { blocks, spare } = self else { return Ok(false) };
        match blocks.recv() {
            Ok(Ok(cut)) => {
                // At the end the thread is gone and needs it no more.
                drop(spare.send(std::mem::replace(block, cut)));
                Ok(true)
            }
            Ok(Err(why)) => {
                *self = Ahead::Ended;
                Err(why)
            }
            Err(_) => {
                *self = Ahead::Ended;
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts numbered blocks, and ends or fails after some of them.
    struct Numbered {
        next: u64,
        end: u64,
        fails: bool,
    }

    impl Cutter for Numbered {
        fn cut(&mut self, block: &mut Block, _bytes_max: usize) -> Result<bool, Error> {
            assert!(block.open().is_empty(), "a block in used memory is empty");
            block.open().extend_from_slice(self.next.to_string().as_bytes());
            block.seal();
            block.first_line = self.next;
            self.next += 1;
            match (self.next > self.end, self.fails) {
                (false, _) => Ok(true),
                (true, false) => Ok(false),
                (true, true) => Err(Error::new(Kind::Corrupt, "damaged")),
            }
        }
    }

    #[test]
    fn blocks_come_in_order_up_to_the_end_or_the_error() {
        for fails in [false, true] {
            let mut ahead = Ahead::of(Numbered { next: 0, end: 40, fails });
            let mut block = Block::default();
            for expected in 0..40 {
                block.clear();
                assert!(ahead.cut(&mut block, 1000).unwrap());
                assert_eq!(block.first_line, expected);
            }
            assert_eq!(ahead.cut(&mut block, 1000).is_err(), fails);
            assert!(!ahead.cut(&mut block, 1000).unwrap(), "it stays at its end");
        }
    }

    #[test]
    fn a_reader_that_stops_early_leaves_no_thread() {
        let mut ahead = Ahead::of(Numbered { next: 0, end: u64::MAX, fails: false });
        assert!(ahead.cut(&mut Block::default(), 1000).unwrap());
    }
}
