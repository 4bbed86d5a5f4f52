//! Reads a file ahead on a thread of its own.
//!
//! Blocks are cut by one thread at a time. Where that is much work, as for columns that are decoded,
//! other threads would wait for it. So it is done while they count the blocks before.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Builder;

use flowmeter_core::event::Block;
use flowmeter_engine::{Error, Kind};

use super::Cutter;

/// Blocks that are cut before they are asked for: about those of a round.
const BLOCKS_AHEAD: usize = 8;

/// The next block, or `None` at the end of the file. A thread that ends without either has failed.
type Cut = Result<Option<Block>, Error>;

/// A cutter that works ahead.
pub(super) enum Ahead {
    /// It was not asked for a block yet.
    Waiting(Box<dyn Cutter>),
    Running {
        blocks: Receiver<Cut>,
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
fn run(cutter: &mut dyn Cutter, bytes_max: usize, blocks: &SyncSender<Cut>, spares: &Receiver<Block>) {
    loop {
        let mut block = spares.try_recv().unwrap_or_default();
        block.clear();
        let cut = cutter.cut(&mut block, bytes_max).map(|is_cut| is_cut.then_some(block));
        let is_last = !matches!(cut, Ok(Some(_)));
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
        let fallen = |_| Err(Error::new(Kind::Bug, "the thread that reads the file failed; nothing more of it was read"));
        match blocks.recv().unwrap_or_else(fallen) {
            Ok(Some(cut)) => {
                // At the end the thread is gone and needs it no more.
                drop(spare.send(std::mem::replace(block, cut)));
                Ok(true)
            }
            ended => {
                *self = Ahead::Ended;
                ended.map(|_| false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a file ends after some blocks.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum End {
        Whole,
        Damaged,
        Panic,
    }

    /// Cuts numbered blocks up to the end.
    struct Numbered {
        next: u64,
        last: u64,
        end: End,
        /// Closed once it is gone.
        _alive: Sender<()>,
    }

    fn numbered(last: u64, end: End) -> (Box<dyn Cutter>, Receiver<()>) {
        let (alive, gone) = channel();
        (Ahead::of(Numbered { next: 0, last, end, _alive: alive }), gone)
    }

    impl Cutter for Numbered {
        fn cut(&mut self, block: &mut Block, _bytes_max: usize) -> Result<bool, Error> {
            assert!(block.open().is_empty(), "a block in used memory is empty");
            block.open().extend_from_slice(self.next.to_string().as_bytes());
            block.seal();
            block.first_line = self.next;
            self.next += 1;
            match self.end {
                _ if self.next <= self.last => Ok(true),
                End::Whole => Ok(false),
                End::Damaged => Err(Error::new(Kind::Corrupt, "damaged")),
                End::Panic => panic!("as a library might on a damaged file"),
            }
        }
    }

    #[test]
    fn blocks_come_in_order_up_to_the_end_and_a_file_that_breaks_off_is_an_error() {
        for end in [End::Whole, End::Damaged, End::Panic] {
            let (mut ahead, _) = numbered(40, end);
            let mut block = Block::default();
            for expected in 0..40 {
                block.clear();
                assert!(ahead.cut(&mut block, 1000).unwrap());
                assert_eq!(block.first_line, expected);
            }
            assert_eq!(ahead.cut(&mut block, 1000).is_err(), end != End::Whole, "{end:?}");
            assert!(!ahead.cut(&mut block, 1000).unwrap(), "it stays at its end");
        }
    }

    #[test]
    fn a_reader_that_stops_early_leaves_no_thread() {
        let (mut ahead, gone) = numbered(u64::MAX, End::Whole);
        assert!(ahead.cut(&mut Block::default(), 1000).unwrap());
        drop(ahead);
        // The cutter is dropped with its thread.
        assert!(gone.recv().is_err());
    }
}
