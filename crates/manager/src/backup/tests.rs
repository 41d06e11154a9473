//! What a file is refused for, what a folder keeps, and what a new cluster is made of.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use swarm_ca::{Role, RootCa};
use swarm_proto::v1::{
    ClusterSnapshot, RaftMember, RootCa as RootCaObject, Service, StoreSnapshot,
};

use super::*;

/// Long enough that no ciphertext contains it by chance.
const CLUSTER: &str = "the-cluster-of-these-tests";

fn backup(created_at: u64, index: u64) -> Backup {
    let root = RootCa::create().expect("a root");
    let root_ca = RootCaObject {
        ca_key: root.key_pem().expect("a key").to_vec(),
        ca_cert: root.certificates_pem().to_vec(),
        ..RootCaObject::default()
    };
    let cluster = Cluster { id: CLUSTER.into(), root_ca: Some(root_ca), ..Cluster::default() };
    let service = Service { id: "s1".into(), ..Service::default() };
    let member = |raft_id| RaftMember { raft_id, node_id: "old".into(), ..RaftMember::default() };
    let snapshot = Snapshot {
        membership: Some(ClusterSnapshot { members: vec![member(5), member(6)], removed: vec![4] }),
        store: Some(StoreSnapshot {
            clusters: vec![cluster],
            services: vec![service],
            ..StoreSnapshot::default()
        }),
        ..Snapshot::default()
    };
    let about = About {
        cluster_id: CLUSTER.into(),
        node_id: "old".into(),
        daemon: "0".into(),
        created_at,
        index,
        term: 3,
    };
    Backup { about, body: snapshot.encode_to_vec() }
}

fn with_checksum(mut file: Vec<u8>) -> Vec<u8> {
    file.truncate(file.len() - 32);
    let checksum = Sha256::digest(&file);
    file.extend_from_slice(&checksum);
    file
}

#[test]
fn a_file_comes_back_and_only_its_key_opens_it() {
    let made = backup(7, 40);
    let (plain, sealed) = (made.to_file(None), made.to_file(Some("horse battery")));
    let (plain, sealed) = (plain.expect("made"), sealed.expect("made"));
    assert_eq!(Backup::from_file(&plain, None).expect("reads"), made);
    assert_eq!(Backup::from_file(&plain, Some("any")).expect("needs no key"), made);
    assert_eq!(Backup::from_file(&sealed, Some("horse battery")).expect("reads"), made);
    assert!(matches!(Backup::from_file(&sealed, None), Err(BackupError::KeyNeeded)));
    assert!(matches!(Backup::from_file(&sealed, Some("horse")), Err(BackupError::WrongKey)));
    let shows = |file: &[u8], text: &[u8]| file.windows(text.len()).any(|part| part == text);
    assert!(shows(&plain, b"PRIVATE KEY") && !shows(&sealed, b"PRIVATE KEY"));
    assert!(shows(&plain, CLUSTER.as_bytes()) && !shows(&sealed, CLUSTER.as_bytes()));
}

#[test]
fn what_is_wrong_with_a_file_is_told() {
    let file = backup(7, 40).to_file(None).expect("made");
    type Harm = fn(Vec<u8>) -> Vec<u8>;
    let cases: [(&str, Harm); 12] = [
        ("this is not a backup of a swarm", |_| Vec::new()),
        ("this is not a backup of a swarm", |_| b"PK something else".to_vec()),
        ("this is not a backup of a swarm", |mut f| {
            f[0] ^= 1;
            f
        }),
        ("cut off: it has 8 bytes", |f| f[..8].to_vec()),
        ("cut off", |f| f[..f.len() - 1].to_vec()),
        ("cut off", |f| f[..f.len() / 2].to_vec()),
        ("the backup has format 2", |mut f| {
            f[8] = 2;
            with_checksum(f)
        }),
        ("damaged", |mut f| {
            f.push(0);
            f
        }),
        ("damaged", |mut f| {
            let at = f.len() / 2;
            f[at] ^= 1;
            f
        }),
        ("damaged", |mut f| {
            let at = f.len() - 1;
            f[at] ^= 1;
            f
        }),
        // Sound, and yet no cluster's state.
        ("no swarm's state", |mut f| {
            f[file::HEADER_BYTES] ^= 1;
            with_checksum(f)
        }),
        ("no swarm's state", |f| {
            let mut empty = backup(7, 40);
            empty.body.clear();
            drop(f);
            empty.to_file(None).expect("made")
        }),
    ];
    for (expect, harm) in cases {
        let error = Backup::from_file(&harm(file.clone()), None).expect_err(expect).to_string();
        assert!(error.contains(expect), "{error} for {expect}");
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    for key in [None, Some("horse")] {
        let made = backup(7, 40);
        let file = made.to_file(key).expect("made");
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 0x10;
            let found = Backup::from_file(&changed, None);
            assert!(found.is_err(), "byte {at}");
            assert!(!matches!(found, Err(BackupError::KeyNeeded)), "byte {at}");
        }
    }
}

#[test]
fn a_new_manager_is_of_the_same_cluster_and_alone() {
    let made = backup(7, 40);
    let revival = Revival::prepare(&made).expect("prepared");
    assert_eq!(revival.identity.organization, CLUSTER);
    assert_eq!(revival.identity.role, Role::Manager);
    assert_ne!(revival.identity.node_id, "old");
    assert_eq!(revival.seed.at, Position { index: 40, term: 3 });
    let snapshot = Snapshot::decode(revival.seed.body.as_slice()).expect("a snapshot");
    let members = snapshot.membership.expect("there");
    assert_eq!((members.members.len(), members.removed.clone()), (0, vec![4, 5, 6]));
    assert!(!members.removed.contains(&revival.raft_id));
    assert_eq!(snapshot.store.expect("there").services.len(), 1);
    // Without the key no node could be certified.
    let mut snapshot = made.snapshot().expect("there");
    let store = snapshot.store.as_mut().expect("there");
    store.clusters[0].root_ca.as_mut().expect("there").ca_key.clear();
    let external = Backup { body: snapshot.encode_to_vec(), ..made };
    assert!(matches!(Revival::prepare(&external), Err(BackupError::ExternalCa)));
}

#[test]
fn a_folder_keeps_the_newest() {
    let root = tempfile::tempdir().expect("a folder");
    let hour = Duration::from_secs(3600);
    let folder = BackupFolder { path: root.path().join("backups"), interval: hour, keep: 2 };
    let now = SystemTime::now();
    assert_eq!(folder.due_in(CLUSTER, now), Duration::ZERO);
    let names = || {
        let mut names: Vec<String> = std::fs::read_dir(&folder.path)
            .expect("lists")
            .map(|entry| entry.expect("lists").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    };
    for (created, index) in [(1_700_000_000, 5), (1_700_003_600, 9), (1_700_007_200, 12)] {
        let made = backup(created, index);
        let path = folder.add(&made, &made.to_file(None).expect("made")).expect("kept");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Others' files are left alone.
        std::fs::write(folder.path.join("swarm-another-x.backup"), b"other").expect("written");
    }
    assert_eq!(
        names(),
        [
            "swarm-another-x.backup".to_owned(),
            format!("swarm-{CLUSTER}-20231114T231320Z-9.backup"),
            format!("swarm-{CLUSTER}-20231115T001320Z-12.backup"),
        ]
    );
    let left = folder.due_in(CLUSTER, SystemTime::now());
    assert!(left > hour / 2 && left <= hour, "{left:?}");
    assert_eq!(folder.due_in(CLUSTER, SystemTime::now() + 2 * hour), Duration::ZERO);
}

#[test]
fn a_file_that_cannot_be_written_leaves_what_was_there() {
    let root = tempfile::tempdir().expect("a folder");
    let path = root.path().join("swarm.backup");
    write_file(&path, b"one").expect("written");
    write_file(&path, b"two").expect("replaced");
    assert_eq!(std::fs::read(&path).expect("there"), b"two");
    let error = write_file(&root.path().join("none/swarm.backup"), b"x").expect_err("no folder");
    assert!(error.to_string().contains("none/swarm.backup"), "{error}");
    assert_eq!(std::fs::read_dir(root.path()).expect("lists").count(), 1);
}
