//! A descriptor that log lines are written to, by a thread that may wait for it alone.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::time::Duration;

/// How long to wait before a descriptor that accepts nothing at the moment is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// Writes whole lines. Waits for a reader that is slow, and keeps lines apart after a failure.
#[derive(Debug)]
pub struct Sink<W = File> {
    writer: W,
    /// The last write failed within a line.
    is_torn: bool,
}

impl Sink {
    /// A descriptor of our own of an open stream. Writing to it takes none of the locks of the
    /// standard library's streams, which other printing threads would wait for.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn duplicate(stream: impl AsFd) -> io::Result<Self> {
        let owned = stream.as_fd().try_clone_to_owned()?;
        Ok(Self::new(File::from(owned)))
    }
}

impl<W: Write> Sink<W> {
    /// Writes to this.
    pub fn new(writer: W) -> Self {
        Self {
            writer,
            is_torn: false,
        }
    }

    /// Writes whole lines. Waits as long as the other end accepts nothing.
    ///
    /// # Errors
    /// When the other end is closed or has no space. The next lines begin on a new line.
    pub fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.write(b"\n")?;
            self.is_torn = false;
        }
        self.write(lines)
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.writer.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    self.is_torn = !bytes.is_empty();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another user of the shared stream made it non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::park_timeout(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts as many bytes at each call as the script states.
    struct Scripted {
        calls: Vec<io::Result<usize>>,
        taken: Vec<u8>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = if self.calls.is_empty() {
                bytes.len()
            } else {
                self.calls.remove(0)?.min(bytes.len())
            };
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_cut_by_a_full_disk_is_never_joined_with_the_next() {
        let full = || Err(ErrorKind::StorageFull.into());
        let mut sink = Sink::new(Scripted {
            calls: vec![Ok(3), full(), full()],
            taken: Vec::new(),
        });
        assert!(sink.write_lines(b"first\n").is_err());
        assert!(sink.write_lines(b"second\n").is_err());
        sink.write_lines(b"third\n").unwrap();
        assert_eq!(sink.writer.taken, b"fir\nthird\n");
    }

    #[test]
    fn a_stream_with_partial_writes_gets_the_whole_line() {
        let calls = vec![
            Ok(2),
            Err(ErrorKind::WouldBlock.into()),
            Err(ErrorKind::Interrupted.into()),
            Ok(1),
        ];
        let mut sink = Sink::new(Scripted {
            calls,
            taken: Vec::new(),
        });
        sink.write_lines(b"a line\n").unwrap();
        assert_eq!(sink.writer.taken, b"a line\n");
    }
}
