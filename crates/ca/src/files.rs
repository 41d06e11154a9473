//! Where a node keeps its certificate, its key and the roots that it trusts: Docker's file names and modes.
//!
//! Files are replaced whole, so that a crash leaves the old or the new one. The key's file may carry PEM headers (a
//! stock manager keeps its Raft encryption key there); they are skipped on reading. Encrypting it comes with autolock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::{CaError, NodeCertificate, RootCa, TlsMaterials};

const ROOT_CERTIFICATE: &str = "swarm-root-ca.crt";
const NODE_CERTIFICATE: &str = "swarm-node.crt";
const NODE_KEY: &str = "swarm-node.key";
/// A new key until its certificate is on disk; a crash in between leaves it here.
const NODE_KEY_NEXT: &str = "swarm-node.key.next";
const CERTIFICATE_MODE: u32 = 0o644;
const KEY_MODE: u32 = 0o600;

/// The directory `certificates` in a node's state.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    directory: PathBuf,
}

impl CertificateFiles {
    /// The files below the swarm's state directory.
    pub fn in_state(state: &Path) -> Self {
        Self { directory: state.join("certificates") }
    }

    /// The trusted roots, without signer. [`CaError::NoLocalRoot`] where this node was never in a swarm.
    pub fn load_root(&self) -> Result<RootCa, CaError> {
        match self.read(ROOT_CERTIFICATE) {
            Err(CaError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(CaError::NoLocalRoot)
            }
            Err(other) => Err(other),
            Ok(bundle) => RootCa::from_pem(&bundle),
        }
    }

    /// The node's certificate and key, checked against the root; an expired one too, since it may yet be renewed.
    pub fn load_node(&self, root: &RootCa) -> Result<NodeCertificate, CaError> {
        let chain = self.read(NODE_CERTIFICATE)?;
        let load =
            |name| NodeCertificate::from_pem_even_if_expired(&chain, &self.read(name)?, root);
        let loaded = load(NODE_KEY);
        // A crash may have come between certificate and key.
        if loaded.is_err()
            && let Ok(interrupted) = load(NODE_KEY_NEXT)
        {
            self.rename(NODE_KEY_NEXT, NODE_KEY)?;
            return Ok(interrupted);
        }
        loaded
    }

    /// Root and certificate as they were when the daemon last ran.
    pub fn load(&self) -> Result<TlsMaterials, CaError> {
        let root = self.load_root()?;
        let node = self.load_node(&root)?;
        TlsMaterials::new(root, node)
    }

    /// Keeps the root.
    pub fn save_root(&self, root: &RootCa) -> Result<(), CaError> {
        self.write(ROOT_CERTIFICATE, root.certificates_pem(), CERTIFICATE_MODE)
    }

    /// Keeps the node's certificate and key. A crash at any point leaves a pair that [`Self::load_node`] finds.
    pub fn save_node(&self, chain_pem: &[u8], key_pem: &[u8]) -> Result<(), CaError> {
        self.write(NODE_KEY_NEXT, key_pem, KEY_MODE)?;
        self.write(NODE_CERTIFICATE, chain_pem, CERTIFICATE_MODE)?;
        self.rename(NODE_KEY_NEXT, NODE_KEY)
    }

    /// Forgets everything, as leaving the swarm does.
    pub fn remove(&self) -> Result<(), CaError> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("remove", "", error))
            }
            _ => Ok(()),
        }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, CaError> {
        fs::read(self.directory.join(name)).map_err(|e| self.failed("read", name, e))
    }

    fn write(&self, name: &str, content: &[u8], mode: u32) -> Result<(), CaError> {
        fs::create_dir_all(&self.directory).map_err(|e| self.failed("create", "", e))?;
        let path = self.directory.join(name);
        write_atomically(&path, content, mode).map_err(|e| self.failed("write", name, e))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), CaError> {
        let renamed = fs::rename(self.directory.join(from), self.directory.join(to));
        renamed
            .and_then(|()| File::open(&self.directory)?.sync_all())
            .map_err(|e| self.failed("write", to, e))
    }

    fn failed(&self, action: &'static str, name: &str, source: io::Error) -> CaError {
        CaError::File { action, path: self.directory.join(name), source }
    }
}

fn write_atomically(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    // A leftover of a crash might have other rights.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::{Identity, Role};

    #[test]
    fn keeps_and_loads() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = CertificateFiles::in_state(directory.path());
        assert!(matches!(files.load_root(), Err(CaError::NoLocalRoot)));
        let root = RootCa::create().expect("created");
        let identity =
            Identity { node_id: "n".into(), role: Role::Worker, organization: "c".into() };
        let (key, chain) = root.issue(&identity).expect("issued");
        files.save_root(&root).expect("saved");
        files.save_node(&chain, &key).expect("saved");
        assert_eq!(files.load().expect("loaded").identity(), identity);
        for (name, mode) in
            [(NODE_KEY, 0o600), (NODE_CERTIFICATE, 0o644), (ROOT_CERTIFICATE, 0o644)]
        {
            let metadata =
                fs::metadata(directory.path().join("certificates").join(name)).expect("exists");
            assert_eq!(metadata.permissions().mode() & 0o777, mode, "{name}");
        }
        // A certificate of another cluster does not pass.
        files.save_root(&RootCa::create().expect("created")).expect("saved");
        assert!(matches!(files.load(), Err(CaError::Untrusted(_))));
        files.remove().expect("removed");
        assert!(matches!(files.load(), Err(CaError::NoLocalRoot)));
    }

    #[test]
    fn a_crash_while_saving_leaves_a_pair() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = CertificateFiles::in_state(directory.path());
        let root = RootCa::create().expect("created");
        let issue = |node_id: &str| {
            let identity =
                Identity { node_id: node_id.into(), role: Role::Worker, organization: "c".into() };
            root.issue(&identity).expect("issued")
        };
        let ((old_key, old_chain), (new_key, new_chain)) = (issue("old"), issue("new"));
        files.save_node(&old_chain, &old_key).expect("saved");
        let node_id = || files.load_node(&root).expect("loaded").identity().node_id.clone();
        files.write(NODE_KEY_NEXT, &new_key, KEY_MODE).expect("written");
        assert_eq!(node_id(), "old");
        files.write(NODE_CERTIFICATE, &new_chain, CERTIFICATE_MODE).expect("written");
        assert_eq!(node_id(), "new");
        // The key is where others look for it now.
        assert_eq!(files.read(NODE_KEY).expect("there"), new_key);
    }

    #[test]
    fn loads_what_a_stock_engine_wrote() {
        let root = RootCa::from_pem(include_bytes!("../testdata/stock-root.crt")).expect("trusted");
        let (chain, key) = (
            include_bytes!("../testdata/stock-manager.crt"),
            include_bytes!("../testdata/stock-manager.key"),
        );
        let node = NodeCertificate::from_pem_even_if_expired(chain, key, &root).expect("loaded");
        assert_eq!(node.identity().role, Role::Manager);
    }
}
