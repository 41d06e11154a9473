//! What is asked of a task's container while earlier work on it, cut short, still goes on. Needs root, as an engine does.

use std::io::Cursor;

use futures::FutureExt as _;
use swarm_engine::EngineConfig;
use swarm_engine::image::{ImportOptions, Reference};
use swarm_engine::registry::RegistryConfig;
use swarm_proto::v1::task_spec::Runtime;
use swarm_proto::v1::{Annotations, ContainerSpec, TaskSpec};

use super::*;

/// A tar archive without files: its end.
const EMPTY_TAR: [u8; 1024] = [0; 1024];

fn task() -> Task {
    let command = vec!["/never-run".to_owned()];
    let container =
        ContainerSpec { image: "empty:test".to_owned(), command, ..ContainerSpec::default() };
    let spec = TaskSpec { runtime: Some(Runtime::Container(container)), ..TaskSpec::default() };
    let service_annotations =
        Some(Annotations { name: "web".to_owned(), ..Annotations::default() });
    Task {
        id: "task".to_owned(),
        slot: 1,
        service_annotations,
        spec: Some(spec.into()),
        ..Task::default()
    }
}

async fn controller(folder: &std::path::Path) -> ContainerController {
    let config = EngineConfig::new(folder.join("data"), folder.join("exec"), "/bin/false".into());
    let engine = Engine::open(config, None).await.expect("open");
    let name = Some(Reference::parse("empty:test").expect("reference"));
    let options = ImportOptions { name, ..Default::default() };
    engine.images().import(Cursor::new(EMPTY_TAR), options).await.expect("import");
    let registries = RegistryClient::new(engine.images().clone(), RegistryConfig::default());
    let machine = Machine {
        hostname: "node1".to_owned(),
        os: "linux".to_owned(),
        architecture: "x86_64".to_owned(),
    };
    ContainerController::new(engine, registries, task(), &machine)
}

fn cut_short(work: impl Future<Output = Result<(), ControllerError>>) {
    if let Some(done_at_once) = work.now_or_never() {
        done_at_once.expect("prepare");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_was_cut_short_is_not_in_the_way_of_what_is_asked_next() {
    #[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root");
        eprintln!("skipped: needs root");
        return;
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let controller = controller(folder.path()).await;
    for _ in 0..20 {
        cut_short(controller.prepare());
        controller.prepare().await.expect("what was begun is what was asked for");

        controller.remove().await.expect("remove");
        cut_short(controller.prepare());
        controller.remove().await.expect("remove");
        assert!(controller.inspect().await.is_none(), "no container is left by what was cut short");
    }
}
