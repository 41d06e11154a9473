//! A node's root, certificate and TLS configurations as one value that can be replaced while connections run.
//!
//! New connections take the newest value; open ones keep what they were made with. Whoever wants to know of a
//! replacement subscribes.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::{ClientConfig, ServerConfig};
use swarm_proto::v1::NodeTlsInfo;
use tokio::sync::watch;

use crate::{CaError, Identity, NodeCertificate, RootCa, tls};

struct Current {
    root: RootCa,
    node: Arc<NodeCertificate>,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Current {
    fn new(root: RootCa, node: Arc<NodeCertificate>) -> Result<Self, CaError> {
        let server = Arc::new(tls::server(&root, &node)?);
        let client = Arc::new(tls::client(&root, &node)?);
        Ok(Self { root, node, server, client })
    }
}

/// A cheap handle on the node's current TLS material; all clones see a replacement at once.
#[derive(Clone)]
pub struct TlsMaterials {
    current: Arc<watch::Sender<Arc<Current>>>,
}

impl TlsMaterials {
    /// Begins with this root and certificate.
    pub fn new(root: RootCa, node: NodeCertificate) -> Result<Self, CaError> {
        let (sender, _) = watch::channel(Arc::new(Current::new(root, Arc::new(node))?));
        Ok(Self { current: Arc::new(sender) })
    }

    /// Makes and certifies an identity with a root that can sign, as the first manager does.
    pub fn issue(root: RootCa, identity: &Identity) -> Result<Self, CaError> {
        let (key, chain) = root.issue(identity)?;
        let node = NodeCertificate::from_pem(&chain, &key, &root)?;
        Self::new(root, node)
    }

    /// Takes up a renewed certificate.
    pub fn replace_certificate(&self, node: NodeCertificate) -> Result<(), CaError> {
        let next = Current::new(self.root(), Arc::new(node))?;
        self.current.send_replace(Arc::new(next));
        Ok(())
    }

    /// Takes up a new root, unless our own certificate would not be trusted by it.
    pub fn replace_root(&self, root: RootCa) -> Result<(), CaError> {
        let node = self.certificate();
        let now = SystemTime::now().min(node.validity().not_after);
        node.check_against(&root, now).map_err(|e| CaError::RootDoesNotMatch(e.to_string()))?;
        self.current.send_replace(Arc::new(Current::new(root, node)?));
        Ok(())
    }

    /// The root.
    pub fn root(&self) -> RootCa {
        self.current.borrow().root.clone()
    }

    /// The node's certificate.
    pub fn certificate(&self) -> Arc<NodeCertificate> {
        self.current.borrow().node.clone()
    }

    /// Who we are.
    pub fn identity(&self) -> Identity {
        self.current.borrow().node.identity().clone()
    }

    /// What to tell the managers about our certificate.
    pub fn info(&self) -> NodeTlsInfo {
        let current = self.current.borrow();
        NodeTlsInfo {
            trust_root: current.root.certificates_pem().to_vec(),
            cert_issuer_subject: current.node.issuer_subject().to_vec(),
            cert_issuer_public_key: current.node.issuer_public_key().to_vec(),
        }
    }

    /// Waits until `condition` holds of the current identity, which may be at once.
    pub async fn wait_for(&self, condition: impl Fn(&Identity) -> bool) -> Identity {
        let mut receiver = self.current.subscribe();
        // The sender lives in `self`, so the channel cannot be closed while we wait.
        match receiver.wait_for(|current| condition(current.node.identity())).await {
            Ok(current) => current.node.identity().clone(),
            Err(_) => self.identity(),
        }
    }

    /// A stream of replacements: `changed()` resolves at each.
    pub fn changes(&self) -> Changes {
        Changes { receiver: self.current.subscribe(), _materials: self.clone() }
    }

    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        self.current.borrow().server.clone()
    }

    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        self.current.borrow().client.clone()
    }
}

/// See [`TlsMaterials::changes`].
pub struct Changes {
    receiver: watch::Receiver<Arc<Current>>,
    // Keeps the sender alive, so that waiting never ends for another reason than a change.
    _materials: TlsMaterials,
}

impl Changes {
    /// Waits for the next replacement of root or certificate.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
