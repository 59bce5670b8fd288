//! Moves output from the command to the log, through the redactor, in a thread of its own: a slow disk does not delay the
//! time limit.

use std::io::{ErrorKind, PipeReader, Read as _};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::log::Log;
use crate::base::redact::Redactor;

/// One read.
const CHUNK: usize = 256 << 10;

/// After the command ended, somebody who holds the pipe and says nothing is waited for this long...
const QUIET: Duration = Duration::from_millis(200);

/// ...and somebody who keeps talking this long.
const DRAIN: Duration = Duration::from_secs(2);

/// After such a pause, what is surely not part of a secret goes to the log.
const IDLE: Duration = Duration::from_millis(50);

/// What became of the output.
pub(super) struct Captured {
    pub log: Log,
    /// Somebody holds the other end still. Whoever writes to it must not be killed by our leaving.
    pub held: Option<PipeReader>,
}

/// Reads to the end; or, once `ended` was closed at its other end, as long as is decent.
pub(super) fn run(mut pipe: PipeReader, ended: PipeReader, mut log: Log, redactor: &Redactor) -> Captured {
    let mut out = Vec::new();
    let mut stream = redactor.stream();
    let mut deadline: Option<Instant> = None;
    let mut eof = false;
    loop {
        let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        match if late { Ok(None) } else { now(stream.read(&mut pipe, CHUNK, &mut |bytes| log.write(bytes))) }
        {
            Ok(Some(0)) | Err(_) => {
                eof = true;
                break;
            }
            Ok(Some(_)) => {}
            Ok(None) if late => break,
            Ok(None) => {
                let pause = match deadline {
                    Some(_) => Some(QUIET),
                    None => stream.pending().then_some(IDLE),
                };
                match ready(&pipe, deadline.is_none().then_some(&ended), pause) {
                    Ready::Output => {}
                    Ready::Ended => deadline = Some(Instant::now() + DRAIN),
                    Ready::Nothing if deadline.is_some() => break,
                    Ready::Nothing => {
                        let before = out.len();
                        stream.idle(&mut out);
                        if out.len() == before {
                            // What is held may be the beginning of a secret: wait for the rest without a clock.
                            if let Ready::Ended = ready(&pipe, Some(&ended), None) {
                                deadline = Some(Instant::now() + DRAIN);
                            }
                        }
                        pass(&mut out, &mut log);
                    }
                }
            }
        }
    }
    stream.finish(&mut out);
    pass(&mut out, &mut log);
    log.flush();
    Captured { log, held: (!eof).then_some(pipe) }
}

fn pass(out: &mut Vec<u8>, log: &mut Log) {
    if !out.is_empty() {
        log.write(out);
        out.clear();
    }
}

/// What a read that does not wait has found; `None` when there is nothing yet.
fn now(read: std::io::Result<usize>) -> std::io::Result<Option<usize>> {
    match read {
        Ok(n) => Ok(Some(n)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

enum Ready {
    Output,
    Ended,
    Nothing,
}

fn ready(pipe: &PipeReader, ended: Option<&PipeReader>, pause: Option<Duration>) -> Ready {
    let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
    let mut fds = vec![PollFd::new(pipe, PollFlags::IN)];
    fds.extend(ended.map(|ended| PollFd::new(ended, PollFlags::IN)));
    match poll(&mut fds, pause.as_ref()) {
        // Output first: the end is acted on when the pipe is empty.
        Ok(_) if !fds[0].revents().is_empty() => Ready::Output,
        Ok(_) if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) => Ready::Ended,
        Ok(_) => Ready::Nothing,
        Err(_) => Ready::Output,
    }
}

/// Reads what left-behind processes still say, and forgets it, until the last of them is gone.
pub(super) fn forget(mut pipe: PipeReader) {
    let mut buffer = [0; 4096];
    loop {
        match now(pipe.read(&mut buffer)) {
            Ok(Some(0)) | Err(_) => return,
            Ok(Some(_)) => {}
            Ok(None) => {
                let _ = ready(&pipe, None, None);
            }
        }
    }
}
