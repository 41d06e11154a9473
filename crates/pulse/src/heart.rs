//! The node's thread: beats to the manager that invited it, until it is invited elsewhere.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::watch;
use tracing::debug;

use crate::datagram::{DATAGRAM_BYTES, Name};
use crate::rhythm::{Heard, Rhythm};
use crate::{Invitation, raise_priority};

/// So many datagrams at a time before beats that are due are sent all the same.
const BURST_MAX: usize = 64;
/// What poll(2) cuts off.
const ROUND_UP: Duration = Duration::from_millis(1);

/// How the newest invitation fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pulse {
    /// When the manager last answered; none where it never did.
    pub answered_at: Option<Instant>,
    /// When it last seemed that the manager knows no such session: worth a look over a connection that proves who
    /// answers.
    pub doubted_at: Option<Instant>,
}

/// What the thread is to turn to, if anything is new: an invitation, or rest.
type Next = Mutex<Option<Option<Invitation>>>;

/// Where all managers are dialled, as far as the node knows.
type Others = Mutex<Vec<SocketAddr>>;

/// A thread that beats; dropping it ends it.
#[derive(Debug)]
pub struct Heart {
    next: Arc<Next>,
    others: Arc<Others>,
    wake: Mutex<PipeWriter>,
    pulse: Arc<watch::Sender<Pulse>>,
}

impl Heart {
    /// Starts the thread of this node, which waits for an invitation.
    ///
    /// # Errors
    /// The system's, where there is no thread or pipe to be had.
    pub fn start(node_id: &str) -> io::Result<Self> {
        let node = Name::new(node_id).ok_or(io::ErrorKind::InvalidInput)?;
        let (woken, wake) = io::pipe()?;
        let next = Arc::new(Next::default());
        let pulse = Arc::new(watch::Sender::default());
        let others = Arc::new(Others::default());
        let (invitations, told, known) = (next.clone(), pulse.clone(), others.clone());
        let thread = std::thread::Builder::new().name("pulse-heart".to_owned());
        // It ends when the pipe is closed.
        thread.spawn(move || {
            if !raise_priority() {
                debug!("heartbeats are sent at usual priority");
            }
            run(node, woken, &invitations, &known, &told);
        })?;
        Ok(Self { next, others, wake: Mutex::new(wake), pulse })
    }

    /// From now on beats go where this invitation says; those of before end.
    pub fn follow(&self, invitation: Invitation) {
        self.turn_to(Some(invitation));
    }

    fn turn_to(&self, invitation: Option<Invitation>) {
        self.pulse.send_replace(Pulse::default());
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(invitation);
        // The thread reads on as long as this handle lives.
        let _ = self.wake.lock().unwrap_or_else(PoisonError::into_inner).write_all(&[0]);
    }

    /// These are the managers, `ip:port` each: all are told that the node lives while the one that invited is silent.
    pub fn know<'a>(&self, managers: impl Iterator<Item = &'a str>) {
        let managers = managers.filter_map(|addr| addr.parse().ok()).collect();
        *self.others.lock().unwrap_or_else(PoisonError::into_inner) = managers;
    }

    /// No beats from now on: the manager takes none on this path.
    pub fn rest(&self) {
        self.turn_to(None);
    }

    /// How it fares.
    pub fn pulse(&self) -> watch::Receiver<Pulse> {
        self.pulse.subscribe()
    }
}

/// The beats of one invitation and their socket.
struct Beating {
    socket: UdpSocket,
    to: SocketAddr,
    rhythm: Rhythm,
}

impl Beating {
    /// None where the address is no `ip:port`, or the system gives no socket: then there are gRPC heartbeats only.
    fn begin(node: Name, invitation: Invitation) -> Option<Self> {
        let to: SocketAddr = invitation.addr.parse().ok()?;
        let any: SocketAddr = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).and_then(|socket| {
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        match socket {
            Ok(socket) => {
                Some(Self { socket, to, rhythm: Rhythm::new(invitation, node, Instant::now()) })
            }
            Err(error) => {
                debug!(%error, "no heartbeats on a path of their own");
                None
            }
        }
    }

    fn take_all(&mut self, pulse: &watch::Sender<Pulse>) {
        let mut bytes = [0; DATAGRAM_BYTES + 1];
        for _ in 0..BURST_MAX {
            let length = match self.socket.recv_from(&mut bytes) {
                Ok((length, _)) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // What an earlier beat met on its way, such as a port that is closed.
                Err(_) => continue,
            };
            let now = Instant::now();
            match self.rhythm.take(now, &bytes[..length]) {
                Heard::Answer => {
                    pulse.send_replace(Pulse { answered_at: Some(now), doubted_at: None });
                }
                Heard::Unknown => {
                    pulse.send_modify(|pulse| pulse.doubted_at = Some(now));
                }
                Heard::Ask | Heard::Nothing => {}
            }
        }
    }

    fn beat_if_due(&mut self, others: &Others) {
        let now = Instant::now();
        if now >= self.rhythm.due() {
            let beat = self.rhythm.beat(now);
            // Where there is no way now, the next may find one.
            let _ = self.socket.send_to(&beat, self.to);
            if self.rhythm.is_unanswered() {
                let others = others.lock().unwrap_or_else(PoisonError::into_inner).clone();
                for other in others.into_iter().filter(|other| *other != self.to) {
                    let _ = self.socket.send_to(&beat, other);
                }
            }
        }
    }
}

fn run(
    node: Name,
    mut woken: PipeReader,
    next: &Next,
    others: &Others,
    pulse: &watch::Sender<Pulse>,
) {
    let mut beating: Option<Beating> = None;
    loop {
        let wait = match &beating {
            Some(beating) => {
                let left = beating.rhythm.due().saturating_duration_since(Instant::now());
                // Whole milliseconds, rounded up: a little late rather than a busy wait.
                PollTimeout::try_from(left + ROUND_UP).unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        };
        let mut ready = vec![PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
        ready.extend(beating.iter().map(|b| PollFd::new(b.socket.as_fd(), PollFlags::POLLIN)));
        // Interrupted or timed out: what is due is looked at below.
        let _ = poll(&mut ready, wait);
        let is_woken = ready[0].any().unwrap_or(true);
        if is_woken {
            match woken.read(&mut [0; 16]) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let news = next.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(invitation) = news {
                beating = invitation.and_then(|invitation| Beating::begin(node, invitation));
            }
        }
        if let Some(beating) = &mut beating {
            beating.take_all(pulse);
            beating.beat_if_due(others);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Beats, Listener, Wards};

    struct Any;

    impl Beats for Any {
        fn beat(&self, _: &str, session_id: &str) -> Option<Duration> {
            (session_id == "known").then_some(Duration::from_millis(100))
        }

        fn stranger(&self, _: &str) {}
    }

    async fn until(pulse: &mut watch::Receiver<Pulse>, what: impl FnMut(&Pulse) -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(10), pulse.wait_for(what)).await;
        drop(waited.expect("in time").expect("a heart"));
    }

    #[tokio::test]
    async fn a_heart_is_answered_until_its_session_is_over() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let addr = socket.local_addr().expect("an address").to_string();
        let wards = Arc::new(Wards::default());
        wards.begin(b"secret".to_vec());
        let listener = Listener::start(socket, wards.clone(), Arc::new(Any)).expect("a thread");
        let heart = Heart::start("n").expect("a thread");
        let mut pulse = heart.pulse();
        heart.follow(wards.invite("n", "known", &addr).expect("invited"));
        until(&mut pulse, |pulse| pulse.answered_at.is_some()).await;
        let first = pulse.borrow_and_update().answered_at;
        until(&mut pulse, |pulse| pulse.answered_at > first).await;
        wards.begin(b"secret".to_vec());
        until(&mut pulse, |pulse| pulse.doubted_at.is_some()).await;
        heart.follow(wards.invite("n", "known", &addr).expect("invited"));
        until(&mut pulse, |pulse| pulse.answered_at.is_some()).await;
        drop(listener);
        UdpSocket::bind(addr).expect("the port is free");
    }
}
