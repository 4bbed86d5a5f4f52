//! Read-ahead: the next window is read while the current one is sent.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::{RecordLog, Records, Window, WindowLimits};
use crate::{Error, Kind};

/// A log of records whose next window is read while the last one is sent, if there is a whole
/// further one: a smaller window may still grow.
pub struct ReadAhead {
    /// The log, unless the reader thread has it.
    log: Option<RecordLog>,
    /// The start and the maximum size of the window being read.
    away: Option<(u64, WindowLimits)>,
    /// Started when there is something to read ahead.
    reader: Option<Reader>,
    /// Memory for the next window.
    spare: Option<Window>,
}

/// A thread that receives the log and returns it with a window.
struct Reader {
    orders: Sender<(RecordLog, u64, u64, WindowLimits)>,
    windows: Receiver<(RecordLog, Result<Window, Error>)>,
}

impl Reader {
    fn start() -> std::io::Result<Reader> {
        let (orders, inbox) = channel::<(RecordLog, u64, u64, WindowLimits)>();
        let (outbox, windows) = channel();
        let read = move || {
            while let Ok((mut log, from, until, limits)) = inbox.recv() {
                let window = log.read(from, until, limits);
                if outbox.send((log, window)).is_err() {
                    return;
                }
            }
        };
        // The thread inherits the niceness of its caller.
        std::thread::Builder::new().name("delivery".to_owned()).spawn(read)?;
        Ok(Reader { orders, windows })
    }
}

impl ReadAhead {
    pub fn new(log: RecordLog) -> ReadAhead {
        ReadAhead { log: Some(log), away: None, reader: None, spare: None }
    }

    /// Waits for the reader and returns the log with the window that was read ahead.
    fn take_back(&mut self) -> Result<(RecordLog, Option<Result<Window, Error>>), Error> {
        if let Some(log) = self.log.take() {
            return Ok((log, None));
        }
        let read = self.reader.as_ref().and_then(|reader| reader.windows.recv().ok());
        let (log, window) = read.ok_or_else(|| Error::new(Kind::Corrupt, "the thread that reads records ended in a panic"))?;
        Ok((log, Some(window)))
    }

    /// Starts reading the next window in the background.
    fn read_ahead(&mut self, mut log: RecordLog, from: u64, until: u64, limits: WindowLimits) {
        if let Some(spare) = self.spare.take() {
            log.give_back(spare);
        }
        if until.saturating_sub(from) >= limits.records as u64 {
            // Without a thread, windows are read one after the other.
            self.reader = self.reader.take().or_else(|| Reader::start().ok());
            if let Some(reader) = &self.reader {
                self.away = Some((from, limits));
                match reader.orders.send((log, from, until, limits)) {
                    Ok(()) => return,
                    Err(refused) => log = refused.0.0,
                }
            }
        }
        self.log = Some(log);
    }
}

impl Records for ReadAhead {
    fn read(&mut self, from: u64, until: u64, limits: WindowLimits) -> Result<Window, Error> {
        let (mut log, ahead) = self.take_back()?;
        let window = match ahead {
            Some(window) if self.away == Some((from, limits)) => window,
            ahead => {
                // The window is not needed: something is sent again, or read back.
                if let Some(Ok(window)) = ahead {
                    log.give_back(window);
                }
                log.read(from, until, limits)
            }
        };
        match &window {
            Ok(read) if !read.is_empty() => self.read_ahead(log, read.span().until, until, limits),
            _ => self.log = Some(log),
        }
        window
    }

    fn give_back(&mut self, window: Window) {
        self.spare = Some(window);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flowmeter_core::image::Pen;
    use flowmeter_store::disk::{Disk, LocalDisk};
    use flowmeter_store::log::{Encoded, EntryKind, Log, Settings};

    use super::*;

    const LIMITS: WindowLimits = WindowLimits { records: 3, bytes: 1 << 20 };

    fn numbers(window: &Window) -> Vec<(u64, Vec<u8>)> {
        window.iter().map(|record| (record.number, record.json.to_vec())).collect()
    }

    fn expected(numbers: std::ops::Range<u64>) -> Vec<(u64, Vec<u8>)> {
        numbers.map(|number| (number, format!("record {number}").into_bytes())).collect()
    }

    #[test]
    fn reading_ahead_gives_the_same_windows() {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk::new(folder.path()).unwrap());
        let (mut log, _) = Log::open(Arc::clone(&disk), "records", Settings::default()).unwrap();
        for first in [0, 4, 8] {
            let mut pen = Pen::default();
            (first..first + 4).for_each(|number| pen.text(format!("\0record {number}").as_bytes()));
            log.append(&Encoded::new(EntryKind::Items, 0, 4, &pen.bytes)).unwrap();
        }
        log.commit().unwrap();
        let mut ahead = ReadAhead::new(RecordLog::new(disk, "records", false));
        let mut read = |from: u64, until: u64, limits: WindowLimits| {
            let window = ahead.read(from, until, limits).unwrap();
            let read = numbers(&window);
            ahead.give_back(window);
            (read, ahead.log.is_none())
        };
        // Two whole windows are left, then one, then less than one.
        assert_eq!(read(0, 11, LIMITS), (expected(0..3), true));
        assert_eq!(read(3, 11, LIMITS), (expected(3..6), true));
        assert_eq!(read(6, 11, LIMITS), (expected(6..9), false));
        // More records arrived meanwhile.
        assert_eq!(read(9, 12, LIMITS), (expected(9..12), false));
        assert_eq!(read(12, 12, LIMITS), (expected(0..0), false));
        // The window that is sent again differs from the one that was read ahead.
        assert_eq!(read(0, 12, LIMITS), (expected(0..3), true));
        assert_eq!(read(0, 5, WindowLimits { records: usize::MAX, ..LIMITS }), (expected(0..5), false));
        assert_eq!(read(5, 12, LIMITS), (expected(5..8), true));
        assert_eq!(read(8, 12, WindowLimits { records: 1, ..LIMITS }), (expected(8..9), true));
    }
}
