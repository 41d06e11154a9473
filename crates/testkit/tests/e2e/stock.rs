//! The same swarm protocol as SwarmKit's: a stock Docker Engine is our worker, and we are a stock manager's.

use swarm_testkit::{
    Cluster, Daemon, Engine, Lab, StockEngine, busybox_image_tar, require_command, wait_until,
};

use crate::support::{IMAGE, PATIENCE, await_output, await_running, await_spread, can_run, spread};

const OBEDIENT: &str = "trap exit TERM; echo hello; while :; do sleep 0.1; done";

#[test]
fn a_stock_engine_is_our_worker() {
    if !(can_run() && require_command("dockerd")) {
        return;
    }
    let cluster = Cluster::swarm(2);
    cluster.load(&busybox_image_tar(IMAGE));
    let manager = &cluster[0];
    let stock = StockEngine::start(cluster.lab().host("stock"), &[]);
    stock.docker(&["load", "--input", &image(cluster.lab())]).ok();
    share_work(manager, &stock, "stock", &["node1", "node2"]);
}

#[test]
fn we_are_a_stock_manager_s_worker() {
    if !(can_run() && require_command("dockerd")) {
        return;
    }
    let lab = Lab::new();
    let stock = StockEngine::start(lab.host("stock"), &[]);
    stock.docker(&["swarm", "init", "--advertise-addr", "10.77.0.1"]).ok();
    let ours = Daemon::start(lab.host("ours"), &[]);
    for engine in [&stock as &dyn Load, &ours] {
        engine.load(&image(&lab));
    }
    share_work(&stock, &ours, "ours", &["stock"]);
}

/// A worker joins, runs its share, shows its logs, is drained, is used again, leaves and is forgotten.
fn share_work(manager: &impl Engine, worker: &impl Engine, name: &str, others: &[&str]) {
    let token = manager.docker(&["swarm", "join-token", "--quiet", "worker"]).ok();
    let address = format!("{}:2377", manager.host().address());
    let said = worker.docker(&["swarm", "join", "--token", &token, &address]).ok();
    assert_eq!(said, "This node joined a swarm as a worker.");
    let create = ["service", "create", "--detach", "--name", "mixed", "--no-resolve-image"];
    let replicas = (2 * (others.len() + 1)).to_string();
    let flags = ["--replicas", &replicas, "--stop-grace-period", "2s"];
    manager.docker(&[&create[..], &flags, &[IMAGE, "sh", "-c", OBEDIENT]].concat()).ok();
    let shares: Vec<(&str, usize)> =
        others.iter().copied().chain([name]).map(|node| (node, 2)).collect();
    await_spread(manager, "mixed", &shares);
    assert_eq!(worker.docker(&["ps", "--quiet"]).ok().lines().count(), 2);

    let of_worker = format!("@{name}");
    await_output(manager, &["service", "logs", "mixed"], |text| {
        let lines =
            text.lines().filter(|line| line.contains(&of_worker) && line.ends_with("hello"));
        lines.count() == 2
    });

    manager.docker(&["node", "update", "--availability", "drain", name]).ok();
    let all = 2 * (others.len() + 1);
    await_running(manager, "mixed", all);
    await_output(worker, &["ps", "--quiet"], str::is_empty);
    assert!(!spread(manager, "mixed").contains_key(name));
    manager.docker(&["node", "update", "--availability", "active", name]).ok();
    manager.docker(&["service", "scale", "--detach", &format!("mixed={}", all + 2)]).ok();
    await_running(manager, "mixed", all + 2);
    assert_eq!(spread(manager, "mixed").get(name), Some(&2));

    assert_eq!(worker.docker(&["swarm", "leave"]).ok(), "Node left the swarm.");
    wait_until(PATIENCE, "all of it to run elsewhere", || {
        let spread = spread(manager, "mixed");
        (!spread.contains_key(name) && spread.values().sum::<usize>() == all + 2).then_some(())
    });
    await_output(manager, &["node", "rm", name], |said| said == name);
    manager.docker(&["service", "rm", "mixed"]).ok();
}

trait Load {
    fn load(&self, path: &str);
}

impl<E: Engine> Load for E {
    fn load(&self, path: &str) {
        self.docker(&["load", "--input", path]).ok();
    }
}

fn image(lab: &Lab) -> String {
    let path = lab.folder().join("busybox.tar");
    std::fs::write(&path, busybox_image_tar(IMAGE)).expect("write the image");
    path.to_str().expect("a plain path").to_owned()
}
