//! Where a node keeps its certificate, its key and the roots that it trusts: Docker's file names and modes.
//!
//! Files are replaced whole, so that a crash leaves the old or the new one. A manager's key file may be locked, and
//! holds the keys of its Raft log too (`key_file`); what it was opened with stays in memory, for the next writing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::key_file::KeyFile;
use crate::{CaError, Lock, NodeCertificate, RaftKeys, RootCa, TlsMaterials, UnlockKey};

const ROOT_CERTIFICATE: &str = "swarm-root-ca.crt";
const NODE_CERTIFICATE: &str = "swarm-node.crt";
const NODE_KEY: &str = "swarm-node.key";
/// A new key until its certificate is on disk; a crash in between leaves it here.
const NODE_KEY_NEXT: &str = "swarm-node.key.next";
const CERTIFICATE_MODE: u32 = 0o644;
const KEY_MODE: u32 = 0o600;

/// The directory `certificates` in a node's state; clones share what is known of its lock.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    directory: PathBuf,
    secrets: Arc<Mutex<Secrets>>,
}

/// What the key file holds beside the TLS key.
#[derive(Clone, Debug, Default)]
struct Secrets {
    lock: Lock,
    raft: RaftKeys,
}

impl CertificateFiles {
    /// The files below the swarm's state directory.
    pub fn in_state(state: &Path) -> Self {
        Self { directory: state.join("certificates"), secrets: Arc::default() }
    }

    /// Opens a locked key file from now on, if the key is right. Nothing on disk changes.
    ///
    /// # Errors
    /// [`CaError::InvalidUnlockKey`]; or what else is wrong with the file.
    pub fn unlock(&self, key: &UnlockKey) -> Result<(), CaError> {
        let mut secrets = self.secrets();
        let opened = KeyFile::decode(&self.read(NODE_KEY)?, Some(key))?;
        *secrets = Secrets { lock: opened.lock, raft: opened.raft };
        Ok(())
    }

    /// The lock as it is.
    pub fn lock(&self) -> Lock {
        self.secrets().lock.clone()
    }

    /// Locks the key file otherwise, or not at all.
    pub fn set_lock(&self, lock: Lock) -> Result<(), CaError> {
        self.change(|secrets| secrets.lock = lock)
    }

    /// The keys of the Raft log.
    pub fn raft_keys(&self) -> RaftKeys {
        self.secrets().raft.clone()
    }

    /// Keeps other keys of the Raft log.
    pub fn set_raft_keys(&self, raft: RaftKeys) -> Result<(), CaError> {
        self.change(|secrets| secrets.raft = raft)
    }

    /// Changes what protects the disk in one writing.
    pub fn set_lock_and_raft_keys(&self, lock: Lock, raft: RaftKeys) -> Result<(), CaError> {
        self.change(|secrets| *secrets = Secrets { lock, raft })
    }

    /// What the next certificate is saved with, for a node that has none yet.
    pub fn begin_with(&self, lock: Lock) {
        *self.secrets() = Secrets { lock, raft: RaftKeys::default() };
    }

    fn change(&self, change: impl FnOnce(&mut Secrets)) -> Result<(), CaError> {
        let mut secrets = self.secrets();
        let mut next = secrets.clone();
        change(&mut next);
        let file = KeyFile::decode(&self.read(NODE_KEY)?, secrets.lock.key.as_ref())?;
        let file = KeyFile { lock: next.lock.clone(), raft: next.raft.clone(), ..file };
        self.write(NODE_KEY, &file.encode()?, KEY_MODE)?;
        // What an interrupted renewal left would be an open door beside the locked one.
        self.discard(NODE_KEY_NEXT)?;
        *secrets = next;
        Ok(())
    }

    fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut secrets = self.secrets();
        let chain = self.read(NODE_CERTIFICATE)?;
        let unlock = secrets.lock.key.clone();
        let load = |name| {
            let file = KeyFile::decode(&self.read(name)?, unlock.as_ref())?;
            let node = NodeCertificate::from_pem_even_if_expired(&chain, &file.key_pem, root)?;
            Ok::<_, CaError>((node, Secrets { lock: file.lock, raft: file.raft }))
        };
        let loaded = match load(NODE_KEY) {
            // A crash may have come between certificate and key.
            Err(error) => match load(NODE_KEY_NEXT) {
                Ok(interrupted) => {
                    self.rename(NODE_KEY_NEXT, NODE_KEY)?;
                    Ok(interrupted)
                }
                Err(_) => Err(error),
            },
            loaded => loaded,
        };
        let (node, found) = loaded?;
        *secrets = found;
        Ok(node)
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
        let lock = self.lock();
        self.save_node_locked(chain_pem, key_pem, lock)
    }

    /// As [`Self::save_node`], with another lock than before.
    pub fn save_node_locked(
        &self,
        chain_pem: &[u8],
        key_pem: &[u8],
        lock: Lock,
    ) -> Result<(), CaError> {
        let mut secrets = self.secrets();
        let raft = secrets.raft.clone();
        let file = KeyFile { key_pem: key_pem.to_vec(), lock: lock.clone(), raft };
        self.write(NODE_KEY_NEXT, &file.encode()?, KEY_MODE)?;
        self.write(NODE_CERTIFICATE, chain_pem, CERTIFICATE_MODE)?;
        self.rename(NODE_KEY_NEXT, NODE_KEY)?;
        secrets.lock = lock;
        Ok(())
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

    fn discard(&self, name: &str) -> Result<(), CaError> {
        match fs::remove_file(self.directory.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("remove", name, error))
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
    use crate::{Identity, Role, SecretKey};

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
        let text = files.read(NODE_KEY).expect("there");
        assert_eq!(KeyFile::decode(&text, None).expect("a key").key_pem, new_key);
    }

    #[test]
    fn a_lock_is_needed_again_by_whoever_opens_the_files() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = CertificateFiles::in_state(directory.path());
        let root = RootCa::create().expect("created");
        let identity =
            Identity { node_id: "n".into(), role: Role::Manager, organization: "c".into() };
        let (key, chain) = root.issue(&identity).expect("issued");
        files.save_root(&root).expect("saved");
        files.save_node(&chain, &key).expect("saved");
        let raft = RaftKeys { current: Some(SecretKey::generate()), ..RaftKeys::default() };
        files.set_raft_keys(raft.clone()).expect("saved");
        let unlock = UnlockKey::generate();
        files.write(NODE_KEY_NEXT, &key, KEY_MODE).expect("an interrupted renewal");
        files.set_lock(Lock { key: Some(unlock.clone()), version: 3 }).expect("locked");
        assert!(files.read(NODE_KEY_NEXT).is_err());

        let again = CertificateFiles::in_state(directory.path());
        assert!(matches!(again.load(), Err(CaError::Locked)));
        let wrong = again.unlock(&UnlockKey::generate());
        assert!(matches!(wrong, Err(CaError::InvalidUnlockKey)));
        assert!(matches!(again.load(), Err(CaError::Locked)));
        again.unlock(&unlock).expect("the key is right");
        assert_eq!(again.load().expect("loaded").identity(), identity);
        assert_eq!((again.lock().version, again.raft_keys()), (3, raft.clone()));
        // A renewed certificate stays locked, and the log's keys stay with it.
        let (key, chain) = root.issue(&identity).expect("issued");
        again.save_node(&chain, &key).expect("saved");
        let third = CertificateFiles::in_state(directory.path());
        assert!(matches!(third.load(), Err(CaError::Locked)));
        third.unlock(&unlock).expect("the key is right");
        assert_eq!(third.raft_keys(), raft);
        third.set_lock(Lock { key: None, version: 9 }).expect("no lock any more");
        CertificateFiles::in_state(directory.path()).load().expect("loaded");
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
