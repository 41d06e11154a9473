//! The heartbeats that come on a path of their own, as the dispatcher takes part in them: it invites, and hears beats.

use std::net::UdpSocket;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{fmt, io};

use swarm_pulse::{Beats, INVITATION_HEADER, Listener, Wards};
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::Dispatcher;

/// Who may beat, and where to; clones share it. Nobody is invited before there is a listener.
#[derive(Clone, Default)]
pub(crate) struct Pulses {
    wards: Arc<Wards>,
    addr: Arc<OnceLock<String>>,
}

impl Pulses {
    /// A term begins, with the secret that all managers have.
    pub(crate) fn begin(&self, secret: Vec<u8>) {
        self.wards.begin(secret);
    }

    /// Tells the node in a session's first answer where to beat.
    pub(crate) fn invite(&self, node_id: &str, session_id: &str, answer: &mut MetadataMap) {
        let Some(addr) = self.addr.get() else { return };
        let invitation = self.wards.invite(node_id, session_id, addr);
        let text = invitation.map(|invitation| MetadataValue::try_from(invitation.to_text()));
        if let Some(Ok(mut value)) = text {
            value.set_sensitive(true);
            answer.insert(INVITATION_HEADER, value);
        }
    }

    pub(crate) fn dismiss(&self, node_id: &str, session_id: &str) {
        self.wards.dismiss(node_id, session_id);
    }

    /// The node's connection broke.
    pub(crate) fn suspect(&self, node_id: &str) {
        self.wards.suspect(node_id);
    }

    pub(crate) fn clear(&self) {
        self.wards.clear();
    }

    /// Hands the beats that arrive at the socket to the dispatcher; nodes are told to send them to `addr`.
    pub(crate) fn listen(
        &self,
        socket: UdpSocket,
        addr: String,
        dispatcher: Dispatcher,
    ) -> io::Result<Listener> {
        let listener = Listener::start(socket, self.wards.clone(), Arc::new(dispatcher))?;
        // Set twice only by a caller's mistake; the first listener's address stays.
        let _ = self.addr.set(addr);
        Ok(listener)
    }
}

impl fmt::Debug for Pulses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulses").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Beats for Dispatcher {
    fn beat(&self, node_id: &str, session_id: &str) -> Option<Duration> {
        self.heard(node_id, session_id).ok()
    }

    fn stranger(&self, node_id: &str) {
        self.heard_of(node_id);
    }
}
