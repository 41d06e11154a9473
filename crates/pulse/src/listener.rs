//! The manager's thread: takes beats, answers them, and asks the silent.

use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::{debug, warn};

use crate::datagram::DATAGRAM_BYTES;
use crate::{Wards, raise_priority};

/// How often the silent are looked for.
const TURN: Duration = Duration::from_millis(250);
/// So many datagrams at a time before the silent are looked for all the same.
const BURST_MAX: usize = 1024;
/// What poll(2) cuts off.
const ROUND_UP: Duration = Duration::from_millis(1);

/// What a beat does.
pub trait Beats: Send + Sync {
    /// The node lives. The period until its next beat; none where the session is over.
    fn beat(&self, node_id: &str, session_id: &str) -> Option<Duration>;

    /// The node lives, but was not invited in this term.
    fn stranger(&self, node_id: &str);
}

/// A running listener; dropping it ends the thread and frees the port.
#[derive(Debug)]
pub struct Listener {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Takes the datagrams of this socket.
    ///
    /// # Errors
    /// The system's, where there is no thread or pipe to be had.
    pub fn start(socket: UdpSocket, wards: Arc<Wards>, beats: Arc<dyn Beats>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (stopped, stop) = io::pipe()?;
        let thread = std::thread::Builder::new().name("pulse-listener".to_owned());
        let thread = thread.spawn(move || {
            if !raise_priority() {
                debug!("heartbeats are taken at usual priority");
            }
            if let Err(error) = listen(&socket, &stopped, &wards, &*beats) {
                warn!(%error, "taking heartbeats on a path of their own ended");
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(mut stop) = self.stop.take() {
            // Where the thread has ended already, nobody reads this.
            let _ = stop.write_all(&[0]);
        }
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }
}

fn listen(
    socket: &UdpSocket,
    stopped: &PipeReader,
    wards: &Wards,
    beats: &dyn Beats,
) -> io::Result<()> {
    let mut turn = Instant::now() + TURN;
    loop {
        let left = turn.saturating_duration_since(Instant::now());
        let mut ready = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
        ];
        let wait = PollTimeout::try_from(left + ROUND_UP).unwrap_or(PollTimeout::MAX);
        match poll(&mut ready, wait) {
            Err(nix::errno::Errno::EINTR) => continue,
            result => result?,
        };
        if ready[1].any().unwrap_or(true) {
            return Ok(());
        }
        take_all(socket, wards, beats);
        let now = Instant::now();
        if now >= turn {
            turn = now + TURN;
            for (to, ask) in wards.asks(now) {
                // A question that is lost is put again.
                let _ = socket.send_to(&ask, to);
            }
        }
    }
}

fn take_all(socket: &UdpSocket, wards: &Wards, beats: &dyn Beats) {
    let mut bytes = [0; DATAGRAM_BYTES + 1];
    for _ in 0..BURST_MAX {
        match socket.recv_from(&mut bytes) {
            Ok((length, from)) => {
                let answer = wards.take(Instant::now(), &bytes[..length], from, beats);
                if let Some(answer) = answer {
                    // An answer that is lost is missed, and the beat repeated.
                    let _ = socket.send_to(&answer, from);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // What an earlier answer met on its way, such as a port that is closed by now.
            Err(_) => {}
        }
    }
}
