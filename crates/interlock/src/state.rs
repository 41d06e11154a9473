//! What runs in the cluster, read whole each time: running containers, and in swarm mode the tasks of services.

mod containers;
mod services;

use crate::client::{Client, ClientError};
use crate::plan::Candidate;

use containers::Containers;

/// What runs.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) candidates: Vec<Candidate>,
    /// Whether there is swarm mode, whose tasks no stream of events tells of.
    pub(crate) has_services: bool,
    /// What could not be read, and left the rest unharmed.
    pub(crate) notices: Vec<String>,
}

/// Reads it.
pub(crate) struct Reader {
    client: Client,
    containers: Containers,
}

impl Reader {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, containers: Containers::default() }
    }

    /// Reads all that runs now.
    ///
    /// # Errors
    /// [`ClientError`] if the cluster does not tell; nothing is known then.
    pub(crate) async fn read(&mut self) -> Result<View, ClientError> {
        let mut view = View::default();
        if let Some(candidates) = services::read(&self.client).await? {
            view.has_services = true;
            view.candidates = candidates;
        }
        let (candidates, notices) = self.containers.read(&self.client, view.has_services).await?;
        view.candidates.extend(candidates);
        view.notices = notices;
        Ok(view)
    }
}
