//! Images end to end on a real disk: archives in, layers and API answers out, and what must be refused.
//!
//! Needs root for devices, owners and `trusted.*` attributes, as the engine itself does.

mod support;

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use support::archive::{Layer, docker_archive, oci_archive};
use support::{load, store_files};
use swarm_engine::ErrorClass;
use swarm_engine::image::{
    Digest, ImageStore, ImageUser, ImportOptions, ListOptions, Reference, RemoveOptions,
};
use tempfile::TempDir;

fn store() -> (TempDir, ImageStore) {
    let root = TempDir::new().expect("temporary folder");
    let store = ImageStore::open(root.path()).expect("open");
    (root, store)
}

fn nobody(_: &Digest) -> Vec<ImageUser> {
    Vec::new()
}

#[test]
fn docker_and_oci_archives_load_in_every_compression() {
    let layers = [Layer::new().file("a", b"one"), Layer::new().file("b", b"two")];
    for (archive, what) in [
        (docker_archive(&layers, &["app:v1", "other/app:v2"]), "docker"),
        (
            support::archive::gzip(&docker_archive(&layers, &["app:v1", "other/app:v2"])),
            "docker gzip",
        ),
    ] {
        let (_root, store) = store();
        let lines = load(&store, &archive).expect(what);
        assert_eq!(lines, ["Loaded image: app:v1\n", "Loaded image: other/app:v2\n"], "{what}");
    }
    for (compression, what) in support::archive::COMPRESSIONS {
        let (_root, store) = store();
        let lines = load(&store, &oci_archive(&layers, Some("app:v1"), compression)).expect(what);
        assert_eq!(lines, ["Loaded image: app:v1\n"], "{what}");
        let dirs = store.lower_dirs("app:v1").expect("image");
        assert_eq!(std::fs::read(dirs[0].join("b")).expect("top layer first"), b"two");
        assert_eq!(std::fs::read(dirs[1].join("a")).expect("lower layer"), b"one");
    }
}

#[test]
fn older_archives_name_a_layer_by_symlink() {
    let (_root, store) = store();
    let archive = support::archive::with_linked_layer(Layer::new().file("a", b"one"));
    assert_eq!(load(&store, &archive).expect("load"), ["Loaded image: app:1\n"]);
    let dirs = store.lower_dirs("app:1").expect("image");
    assert_eq!(std::fs::read(dirs[0].join("a")).expect("content"), b"one");
}

#[test]
fn an_unnamed_image_is_reported_by_id() {
    let (_root, store) = store();
    let lines = load(&store, &docker_archive(&[Layer::new().file("a", b"1")], &[])).expect("load");
    let id = store.list(&ListOptions::default()).expect("list")[0].id.clone();
    assert_eq!(lines, [format!("Loaded image ID: {id}\n")]);
}

#[test]
fn layers_keep_what_a_root_file_system_needs() {
    let (_root, store) = store();
    let layer = Layer::new()
        .folder("etc", 0o750)
        .owned_file("etc/secret", b"x", 0o4640, 12, 34)
        .hard_link("etc/same", "etc/secret")
        .symlink("abs", "/etc/secret")
        .device("null", 1, 3)
        .fifo("pipe")
        .xattr_file("capable", "user.note", b"hello");
    load(&store, &docker_archive(&[layer], &["full:1"])).expect("load");
    let root = store.lower_dirs("full:1").expect("image").remove(0);
    let status = |path: &str| std::fs::symlink_metadata(root.join(path)).expect(path);
    assert_eq!(status("etc").mode() & 0o7777, 0o750);
    let secret = status("etc/secret");
    assert_eq!(
        (secret.mode() & 0o7777, secret.uid(), secret.gid(), secret.mtime()),
        (0o4640, 12, 34, support::MTIME)
    );
    assert_eq!(status("etc/same").ino(), secret.ino());
    assert_eq!(status("etc").mtime(), support::MTIME);
    assert_eq!(std::fs::read_link(root.join("abs")).expect("symlink"), Path::new("/etc/secret"));
    assert!(status("null").file_type().is_char_device());
    assert_eq!(status("null").rdev(), nix::sys::stat::makedev(1, 3));
    assert!(status("pipe").file_type().is_fifo());
    assert_eq!(
        support::xattr(&root.join("capable"), c"user.note").as_deref(),
        Some(b"hello".as_slice())
    );
}

#[test]
fn deletions_become_overlayfs_own() {
    let (_root, store) = store();
    let lower = Layer::new().file("gone", b"").folder("dir", 0o755).file("dir/old", b"");
    let upper = Layer::new()
        .file(".wh.gone", b"")
        .folder("dir", 0o755)
        .file("dir/.wh..wh..opq", b"")
        .file("dir/new", b"")
        // Deleted and made again in one layer, in both orders: what the layer brings stays.
        .file(".wh.turned", b"")
        .folder("turned", 0o755)
        .file("kept", b"kept")
        .file(".wh.kept", b"")
        .file(".wh..wh.plnk", b"");
    load(&store, &docker_archive(&[lower, upper], &["white:1"])).expect("load");
    let top = store.lower_dirs("white:1").expect("image").remove(0);
    let gone = std::fs::symlink_metadata(top.join("gone")).expect("whiteout");
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let opaque = |path: &str| support::xattr(&top.join(path), c"trusted.overlay.opaque");
    assert_eq!(opaque("dir").as_deref(), Some(b"y".as_slice()));
    assert_eq!(opaque("turned").as_deref(), Some(b"y".as_slice()));
    assert_eq!(std::fs::read(top.join("kept")).expect("kept"), b"kept");
    let mut names: Vec<_> =
        std::fs::read_dir(&top).expect("read").map(|e| e.expect("entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["dir", "gone", "kept", "turned"]);
}

#[test]
fn the_kernel_stacks_layers_as_the_image_means() {
    let (root, store) = store();
    let lower = Layer::new()
        .file("gone", b"")
        .folder("dir", 0o755)
        .file("dir/old", b"")
        .folder("turned", 0o755)
        .file("turned/old", b"")
        .file("stays", b"lower");
    let middle = Layer::new().file(".wh.gone", b"").file("dir/.wh.old", b"").file("dir/new", b"");
    let upper =
        Layer::new().file(".wh.turned", b"").folder("turned", 0o755).file("turned/new", b"");
    load(&store, &docker_archive(&[lower, middle, upper], &["stack:1"])).expect("load");
    let folders = store.lower_dirs("stack:1").expect("image");
    let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let merged = root.path().join("merged");
    std::fs::create_dir(&merged).expect("mount point");
    let options = format!("lowerdir={}", folders.join(":"));
    let flags = nix::mount::MsFlags::MS_RDONLY;
    nix::mount::mount(Some("overlay"), &merged, Some("overlay"), flags, Some(options.as_str()))
        .expect("mount overlay");
    let names = |folder: &str| -> Vec<String> {
        let entries = std::fs::read_dir(merged.join(folder)).expect("read");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("entry").file_name().display().to_string()).collect();
        names.sort();
        names
    };
    let seen = [names(""), names("dir"), names("turned")];
    nix::mount::umount(&merged).expect("unmount");
    assert_eq!(seen[0], ["dir", "stays", "turned"]);
    assert_eq!(
        (seen[1].as_slice(), seen[2].as_slice()),
        (&["new".to_owned()][..], &["new".to_owned()][..])
    );
}

#[test]
fn an_archive_cannot_steer_overlayfs() {
    let (_root, store) = store();
    let layer = Layer::new().xattr_file("x", "trusted.overlay.redirect", b"/etc");
    load(&store, &docker_archive(&[layer], &["steer:1"])).expect("load");
    let root = store.lower_dirs("steer:1").expect("image").remove(0);
    assert_eq!(support::xattr(&root.join("x"), c"trusted.overlay.redirect"), None);
}

#[test]
fn bad_archives_leave_nothing_behind() {
    let outside = TempDir::new().expect("temporary folder");
    let victim = outside.path().join("victim");
    std::fs::write(&victim, "safe").expect("write");
    let absolute = victim.to_str().expect("UTF-8");
    let up = "../".repeat(30) + &absolute[1..];
    let folder = outside.path().to_str().expect("UTF-8");
    let good = docker_archive(&[Layer::new().file("a", b"one")], &["good:1"]);
    let one = |layer: Layer| docker_archive(&[layer], &["evil:1"]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("parent path", one(Layer::new().file(&up, b"evil"))),
        ("absolute path", one(Layer::new().file(absolute, b"evil"))),
        (
            "parent path in the middle",
            one(Layer::new().folder("a", 0o755).file(&format!("a/../{up}"), b"evil")),
        ),
        (
            "through an absolute symlink",
            one(Layer::new().symlink("out", folder).file("out/victim", b"evil")),
        ),
        (
            "through a relative symlink",
            one(Layer::new()
                .symlink("out", &("../".repeat(30) + &folder[1..]))
                .file("out/victim", b"evil")),
        ),
        (
            "symlink that climbs out",
            one(Layer::new().folder("a", 0o755).symlink("a/out", "../../etc")),
        ),
        ("hard link outside", one(Layer::new().hard_link("link", absolute))),
        ("hard link up", one(Layer::new().hard_link("link", &up))),
        (
            "hard link through a symlink",
            one(Layer::new().symlink("out", folder).hard_link("link", "out/victim")),
        ),
        ("whiteout outside", one(Layer::new().symlink("out", folder).file("out/.wh.victim", b""))),
        ("opaque outside", one(Layer::new().symlink("out", folder).file("out/.wh..wh..opq", b""))),
        (
            "deletion of the parent",
            one(Layer::new().folder("a", 0o755).file("a/.wh...", b"").file("../x", b"")),
        ),
        ("root as a file", one(Layer::new().file("/", b"evil"))),
        ("truncated", good[..good.len() / 2].to_vec()),
        ("truncated layer", support::archive::with_truncated_layer()),
        ("garbage", b"this is no archive at all, not even close".repeat(40)),
        ("empty", Vec::new()),
        ("missing layer", support::archive::with_missing_layer()),
        ("wrong layer digest", support::archive::with_wrong_digest()),
        ("second image broken", support::archive::with_second_image_broken()),
        ("wrong OCI blob", support::archive::oci_with_wrong_config()),
        ("manifest is null", support::archive::with_manifest(b"null")),
        ("manifest is no JSON", support::archive::with_manifest(b"{")),
        (
            "config path outside",
            support::archive::with_manifest(br#"[{"Config":"../../etc/passwd","Layers":[]}]"#),
        ),
        (
            "bad tag",
            support::archive::with_manifest(br#"[{"Config":"c","RepoTags":["Bad:"],"Layers":[]}]"#),
        ),
    ];
    for (what, archive) in cases {
        let (root, store) = store();
        let before = store_files(root.path());
        let error = load(&store, &archive).expect_err(what);
        assert_eq!(error.class(), ErrorClass::InvalidParameter, "{what}: {error}");
        assert!(store.list(&ListOptions::default()).expect("list").is_empty(), "{what}");
        assert_eq!(store_files(root.path()), before, "{what}");
        assert_eq!(std::fs::read_to_string(&victim).expect("victim"), "safe", "{what}");
        assert_eq!(std::fs::read_dir(outside.path()).expect("read").count(), 1, "{what}");
    }
}

#[test]
fn a_killed_load_is_swept_up_at_the_next_start() {
    let (root, store) = store();
    load(&store, &docker_archive(&[Layer::new().file("a", b"one")], &["good:1"])).expect("load");
    let before = store_files(root.path());
    drop(store);
    let orphan = root.path().join("layers").join("f".repeat(64));
    std::fs::create_dir_all(orphan.join("diff")).expect("orphan layer");
    std::fs::create_dir_all(root.path().join("tmp/half/diff")).expect("scratch");
    std::fs::write(root.path().join("blobs/sha256").join("e".repeat(64)), "{}")
        .expect("orphan blob");
    let store = ImageStore::open(root.path()).expect("open again");
    assert_eq!(store_files(root.path()), before);
    assert_eq!(store.list(&ListOptions::default()).expect("list").len(), 1);
}

#[test]
fn a_damaged_image_is_forgotten_not_served() {
    let (root, store) = store();
    load(&store, &docker_archive(&[Layer::new().file("a", b"one")], &["good:1"])).expect("load");
    let layer = store.lower_dirs("good:1").expect("image").remove(0);
    drop(store);
    std::fs::remove_dir_all(layer.parent().expect("layer folder")).expect("damage");
    let store = ImageStore::open(root.path()).expect("open again");
    assert_eq!(store.resolve("good:1").expect_err("damaged").to_string(), "No such image: good:1");
}

#[test]
fn a_full_disk_leaves_no_half_image() {
    let disk = support::SmallDisk::new("size=1m,nr_inodes=200");
    let store = ImageStore::open(disk.path()).expect("open");
    let before = store_files(disk.path());
    let error =
        load(&store, &docker_archive(&[Layer::new().file("big", &vec![7; 900_000])], &["big:1"]))
            .expect_err("too big");
    assert!(error.to_string().contains("No space left on device"), "{error}");
    assert_eq!(error.class(), ErrorClass::System);
    assert_eq!(store_files(disk.path()), before);
    load(&store, &docker_archive(&[Layer::new().file("small", b"x")], &["small:1"]))
        .expect("room for a small one");
}

#[test]
fn images_are_found_by_what_users_call_them() {
    let (_root, store) = store();
    load(&store, &docker_archive(&[Layer::new().file("a", b"one")], &["app:latest", "app:v1"]))
        .expect("load");
    let id = store.resolve("app").expect("latest").id.clone();
    for name in [
        "app",
        "app:v1",
        "docker.io/library/app:v1",
        id.as_str(),
        id.hex(),
        id.short(),
        &id.as_str()[..15],
    ] {
        assert_eq!(store.resolve(name).expect(name).id, id, "{name}");
    }
    for (name, message) in [
        ("x", "No such image: x:latest"),
        ("app:v2", "No such image: app:v2"),
        (&"0".repeat(64), &format!("No such image: sha256:{}", "0".repeat(64))),
        ("App", "invalid reference format: repository name (library/App) must be lowercase"),
    ] {
        assert_eq!(store.resolve(name).expect_err(name).to_string(), message);
    }
}

#[test]
fn tags_move_and_images_go_with_their_last_name() {
    let (root, store) = store();
    let empty = store_files(root.path());
    let shared = Layer::new().file("base", b"base");
    load(&store, &docker_archive(std::slice::from_ref(&shared), &["base:1"])).expect("load");
    load(&store, &docker_archive(&[shared, Layer::new().file("top", b"top")], &["app:1"]))
        .expect("load");
    let app = store.resolve("app:1").expect("app");
    store.tag("app:1", &Reference::parse("app:2").expect("valid")).expect("tag");

    let by_id =
        store.remove(app.id.short(), RemoveOptions::default(), &nobody).expect_err("two names");
    assert_eq!(
        by_id.to_string(),
        format!(
            "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
            app.id.short()
        )
    );
    let records = store.remove("app:1", RemoveOptions::default(), &nobody).expect("untag");
    assert_eq!(records[0].untagged.as_deref(), Some("app:1"));
    assert_eq!(records.len(), 1);

    let running = |_: &Digest| vec![ImageUser { container: "c".repeat(64), running: true }];
    let in_use = store.remove("app:2", RemoveOptions::default(), &running).expect_err("in use");
    assert_eq!(in_use.class(), ErrorClass::Conflict);
    assert!(
        in_use
            .to_string()
            .contains("(must force) - container cccccccccccc is using its referenced image")
    );

    let records = store.remove("app:2", RemoveOptions::default(), &nobody).expect("remove");
    let deleted: Vec<_> = records.iter().filter_map(|record| record.deleted.clone()).collect();
    assert_eq!(deleted.len(), 2, "the image and its own layer, not the shared one: {records:?}");
    assert_eq!(deleted[0], app.id.to_string());
    store.resolve("base:1").expect("base stays");
    store
        .remove("base", RemoveOptions::default(), &nobody)
        .expect_err("base:latest is no name of it");
    store.remove("base:1", RemoveOptions::default(), &nobody).expect("remove");
    assert_eq!(store_files(root.path()), empty);
}

#[test]
fn prune_takes_what_has_no_name_or_no_user() {
    let (_root, store) = store();
    load(&store, &docker_archive(&[Layer::new().file("a", b"12345")], &["app:1"])).expect("load");
    load(&store, &docker_archive(&[Layer::new().file("a", b"123")], &["app:1"]))
        .expect("load takes the name over");
    let report = store.prune(&Default::default(), &nobody).expect("prune");
    assert_eq!(report.space_reclaimed, Some(5));
    assert_eq!(store.list(&ListOptions::default()).expect("list").len(), 1);
    let all = [("dangling".to_owned(), vec!["false".to_owned()])].into();
    let used = |_: &Digest| vec![ImageUser { container: "c".repeat(64), running: false }];
    assert_eq!(store.prune(&all, &used).expect("prune").images_deleted, None);
    assert_eq!(store.prune(&all, &nobody).expect("prune").space_reclaimed, Some(3));
}

#[test]
fn lists_filter_and_inspect_tells_all() {
    let (_root, store) = store();
    let options = ImportOptions {
        name: Some(Reference::parse("imported").expect("valid")),
        changes: vec!["CMD [\"/a\"]".into(), "LABEL kind=test".into(), "ENV A=b".into()],
        message: Some("made by hand".into()),
        platform: None,
    };
    store
        .import_blocking(Layer::new().file("a", b"12345").tar().as_slice(), options)
        .expect("import");
    load(&store, &docker_archive(&[Layer::new().file("b", b"1")], &["other/app:v1"]))
        .expect("load");
    let list = |key: &str, value: &str| -> Vec<String> {
        let filters = [(key.to_owned(), vec![value.to_owned()])].into();
        let listed = store.list(&ListOptions { filters, ..ListOptions::default() }).expect(value);
        listed.into_iter().flat_map(|image| image.repo_tags).collect()
    };
    assert_eq!(list("reference", "imp*"), ["imported:latest"]);
    assert_eq!(list("reference", "*/app"), ["other/app:v1"]);
    assert_eq!(list("label", "kind"), ["imported:latest"]);
    assert_eq!(list("label", "kind=other"), [""; 0]);
    assert_eq!(list("dangling", "true"), [""; 0]);
    assert_eq!(list("since", "other/app:v1"), ["imported:latest"]);
    assert_eq!(list("before", "imported"), ["other/app:v1"]);
    let bad = [("color".to_owned(), vec!["red".to_owned()])].into();
    let refused = store
        .list(&ListOptions { filters: bad, ..ListOptions::default() })
        .expect_err("unknown filter");
    assert_eq!(refused.to_string(), "invalid filter 'color'");

    let inspect = store.inspect("imported").expect("inspect");
    assert_eq!(inspect.size, Some(5));
    assert_eq!(inspect.comment.as_deref(), Some("made by hand"));
    let config = inspect.config.expect("config");
    assert_eq!(config.cmd, Some(vec!["/a".to_owned()]));
    assert_eq!(config.env, Some(vec!["A=b".to_owned()]));
    let history = store.history("imported").expect("history");
    assert_eq!(
        (history.len(), history[0].size, history[0].comment.as_str()),
        (1, 5, "made by hand")
    );
}
