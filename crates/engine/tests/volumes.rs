//! Volumes on a real disk: their life, who may remove them, mounts behind them, and what a new one is filled with.
//!
//! Needs root for mounts, as the engine itself does.

use std::collections::HashMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use swarm_engine::ErrorClass;
use swarm_engine::volume::{CreateVolume, VolumeStore};
use tempfile::TempDir;

fn store() -> (TempDir, VolumeStore) {
    let root = TempDir::new().expect("temporary folder");
    let store = VolumeStore::open(root.path()).expect("open");
    (root, store)
}

fn named(name: &str) -> CreateVolume {
    CreateVolume { name: name.to_owned(), ..CreateVolume::default() }
}

fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn nobody(_: &str) -> Vec<String> {
    Vec::new()
}

#[test]
fn a_volume_lives_until_it_is_removed() {
    let (root, store) = store();
    let labels = map(&[("tier", "db")]);
    let made =
        store.create(CreateVolume { labels: labels.clone(), ..named("data") }).expect("create");
    assert_eq!(made.mountpoint, root.path().join("data/_data").display().to_string());
    std::fs::write(root.path().join("data/_data/file"), "kept").expect("write");
    assert_eq!(
        store.create(named("data")).expect("again").labels,
        labels,
        "what exists is returned as it is"
    );

    let store = VolumeStore::open(root.path()).expect("open again");
    let found = store.inspect("data").expect("inspect");
    assert_eq!((found.labels, found.created_at), (labels, made.created_at));
    let in_use =
        store.remove("data", true, &|_| vec!["c1".into(), "c2".into()]).expect_err("in use");
    assert_eq!(in_use.to_string(), "remove data: volume is in use - [c1, c2]");
    assert_eq!(in_use.class(), ErrorClass::Conflict);
    store.remove("data", false, &nobody).expect("remove");
    assert!(!root.path().join("data").exists());
    let gone = store.inspect("data").expect_err("gone");
    assert_eq!(
        (gone.to_string().as_str(), gone.class()),
        ("get data: no such volume", ErrorClass::NotFound)
    );
    store.remove("data", false, &nobody).expect_err("no such volume");
    store.remove("data", true, &nobody).expect("force forgives");
}

#[test]
fn bad_requests_make_nothing() {
    let (root, store) = store();
    let driver = CreateVolume { driver: "nfs".into(), ..named("data") };
    let options = CreateVolume { options: map(&[("size", "1G")]), ..named("data") };
    for (request, message) in [
        (driver, "create data: error looking up volume plugin nfs: plugin \"nfs\" not found"),
        (options, "create data: quota size requested but no quota support"),
        (
            named("a"),
            "create a: volume name is too short, names should be at least two alphanumeric characters",
        ),
    ] {
        assert_eq!(store.create(request).expect_err(message).to_string(), message);
    }
    store.create(named("../evil")).expect_err("outside");
    assert!(store.list(&HashMap::new(), &nobody).expect("list").is_empty());
    assert_eq!(std::fs::read_dir(root.path()).expect("read").count(), 1, "only scratch");
}

#[test]
fn lists_and_prunes_select() {
    let (root, store) = store();
    store
        .create(CreateVolume { labels: map(&[("keep", "yes")]), ..named("alpha") })
        .expect("create");
    store.create(named("beta")).expect("create");
    let anonymous = store.create(CreateVolume::default()).expect("create").name;
    assert_eq!(anonymous.len(), 64);
    std::fs::write(root.path().join(&anonymous).join("_data/f"), "12345").expect("write");
    let users = |name: &str| if name == "beta" { vec!["c".to_owned()] } else { Vec::new() };
    let list = |key: &str, value: &str| -> Vec<String> {
        let filters = [(key.to_owned(), vec![value.to_owned()])].into();
        store
            .list(&filters, &users)
            .expect(value)
            .into_iter()
            .map(|v| v.name)
            .filter(|n| n.len() < 64)
            .collect()
    };
    assert_eq!(list("name", "eta"), ["beta"]);
    assert_eq!(list("label", "keep=yes"), ["alpha"]);
    assert_eq!(list("dangling", "true"), ["alpha"]);
    assert_eq!(list("dangling", "false"), ["beta"]);
    assert_eq!(list("driver", "local"), ["alpha", "beta"]);
    let bad = [("color".to_owned(), vec!["red".to_owned()])].into();
    assert_eq!(
        store.list(&bad, &users).expect_err("unknown").to_string(),
        "invalid filter 'color'"
    );

    let plain = store.prune(&HashMap::new(), &users).expect("prune");
    assert_eq!((plain.volumes_deleted, plain.space_reclaimed), (Some(vec![anonymous]), Some(5)));
    let all = [("all".to_owned(), vec!["true".to_owned()])].into();
    assert_eq!(
        store.prune(&all, &users).expect("prune").volumes_deleted,
        Some(vec!["alpha".to_owned()])
    );
    assert_eq!(
        store.disk_usage(&users)[0].usage_data.as_ref().map(|u| (u.size, u.ref_count)),
        Some((0, 1))
    );
}

#[test]
fn a_mount_is_there_while_somebody_uses_it() {
    let (root, store) = store();
    let options = map(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,mode=700")]);
    store.create(CreateVolume { options, ..named("memory") }).expect("create");
    let data = store.mount("memory", "c1").expect("mount");
    store.mount("memory", "c2").expect("second user");
    assert_eq!(std::fs::metadata(&data).expect("data").mode() & 0o777, 0o700);
    std::fs::write(data.join("file"), "x").expect("write");
    store.unmount("memory", "c1").expect("unmount");
    assert!(data.join("file").exists(), "c2 still has it");
    let reopened = VolumeStore::open(root.path()).expect("a new daemon");
    reopened.mount("memory", "c2").expect("adopted");
    assert!(data.join("file").exists(), "adopting mounts nothing anew");
    reopened.remove("memory", true, &nobody).expect_err("mounted");
    reopened.unmount("memory", "c2").expect("unmount");
    assert!(!data.join("file").exists());
    reopened.remove("memory", false, &nobody).expect("remove");

    let source = TempDir::new().expect("temporary folder");
    std::fs::write(source.path().join("f"), "host").expect("write");
    let device = source.path().display().to_string();
    let options = map(&[("type", "none"), ("device", &device), ("o", "bind,ro")]);
    store.create(CreateVolume { options, ..named("bound") }).expect("create");
    let data = store.mount("bound", "c").expect("mount");
    assert_eq!(std::fs::read_to_string(data.join("f")).expect("content"), "host");
    std::fs::write(data.join("g"), "").expect_err("read-only");
    store.unmount("bound", "c").expect("unmount");
    store.remove("bound", false, &nobody).expect("remove");
    assert!(source.path().join("f").exists(), "what was bound stays");

    let options = map(&[("device", "/does/not/exist"), ("o", "bind")]);
    store.create(CreateVolume { options, ..named("broken") }).expect("create");
    let error = store.mount("broken", "c").expect_err("nothing to bind");
    assert!(
        error.to_string().starts_with("failed to mount local volume: mount /does/not/exist:"),
        "{error}"
    );
    store.remove("broken", false, &nobody).expect("nobody uses it");
}

#[test]
fn a_new_volume_gets_the_images_content() {
    let (_root, store) = store();
    store.create(named("data")).expect("create");
    let rootfs = TempDir::new().expect("temporary folder");
    let inside = rootfs.path().join("var/lib/app");
    std::fs::create_dir_all(inside.join("sub")).expect("folders");
    std::fs::write(inside.join("sub/file"), "content").expect("write");
    std::fs::set_permissions(inside.join("sub/file"), std::fs::Permissions::from_mode(0o4711))
        .expect("mode");
    chown(&inside, Some(7), Some(8)).expect("owner");
    symlink("/etc/passwd", inside.join("link")).expect("symlink");
    // The way there leads through a symlink that is absolute inside of the image.
    symlink("/var/lib/app", rootfs.path().join("app")).expect("symlink");
    symlink("/etc", rootfs.path().join("escape")).expect("symlink");

    store
        .copy_up("data", rootfs.path(), "/escape".as_ref())
        .expect("the image has no /etc: nothing to copy");
    let data = store.mount("data", "c").expect("mount");
    assert_eq!(std::fs::read_dir(&data).expect("read").count(), 0);
    store.copy_up("data", rootfs.path(), "/app".as_ref()).expect("copy");
    assert_eq!(std::fs::read_to_string(data.join("sub/file")).expect("content"), "content");
    assert_eq!(std::fs::metadata(data.join("sub/file")).expect("file").mode() & 0o7777, 0o4711);
    let owner = std::fs::metadata(&data).expect("data");
    assert_eq!((owner.uid(), owner.gid()), (7, 8));
    assert_eq!(std::fs::read_link(data.join("link")).expect("link").to_str(), Some("/etc/passwd"));

    std::fs::write(inside.join("later"), "").expect("write");
    store.copy_up("data", rootfs.path(), "/app".as_ref()).expect("no copy");
    assert!(!data.join("later").exists(), "a volume with content is left alone");
}
