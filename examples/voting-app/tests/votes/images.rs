//! The images, as `build-images` makes them: built by a stock Docker Engine without a registry, and run on its network.

use std::path::Path;
use std::process::Command;

use swarm_testkit::{
    Engine, Host, Lab, Output, StockEngine, require_command, require_hosts, wait_until,
};

use crate::stack::{PATIENCE, can_run};

const IMAGES: [&str; 5] = ["web-vote-app", "vote-worker", "results-app", "redis", "postgres"];

#[test]
fn images_work_by_the_names_of_the_walk_through() {
    let has = ["docker", "dockerd", "busybox", "curl"].iter().all(|name| require_command(name));
    if !(can_run() && require_hosts() && has) {
        return;
    }
    let lab = Lab::new();
    let engine = StockEngine::start(lab.host("one"), &[]);
    build(&engine, lab.folder());
    engine.docker(&["network", "create", "mynet"]).ok();
    let run = |name: &str, flags: &str, image: &str| {
        let words = format!(
            "run --detach --restart=unless-stopped --net mynet --name {name} {flags} {image}"
        );
        engine.docker(&words.split_whitespace().collect::<Vec<_>>()).ok();
    };
    run("redis01", "", "redis");
    run(
        "frontend01",
        "-p 5000:80 -e WEB_VOTE_NUMBER=01 --hostname votingapp.local",
        "web-vote-app",
    );
    run("pg", "-e POSTGRES_PASSWORD=pg8675309 -p 5432:5432", "postgres");
    run("worker01", "-e WORKER_NUMBER=01 -e FROM_REDIS_HOST=1 -e TO_REDIS_HOST=1", "vote-worker");
    run("results-app", "-p 80:80", "results-app");

    let page = "http://127.0.0.1:5000/";
    wait_until(PATIENCE, "the front end", || get(engine.host(), &format!("{page}health")));
    let text = get(engine.host(), page).expect("the voting page");
    assert!(text.contains("<strong>frontend01</strong> (votingapp.local)"), "{text}");
    let mut voters = engine.host().command(env!("CARGO_BIN_EXE_voters"));
    voters.args([page, "--votes", "300", "--at-once", "20"]);
    voters.args(["--check", "postgres://postgres:pg8675309@127.0.0.1/postgres"]);
    let counted = Output::of(&mut voters).ok();
    assert!(counted.contains("0 missing, 0 wrong, 0 too many"), "{counted}");

    // Nothing runs as root but what has to listen on port 80, and everything ends when it is told to.
    for (name, user) in [("redis01", "101:101"), ("pg", "102:102")] {
        let format = ["inspect", "--format", "{{.Config.User}}", name];
        assert_eq!(engine.docker(&format).ok(), user);
    }
    let all = ["pg", "redis01", "frontend01", "worker01", "results-app"];
    engine.docker(&[&["stop", "--time", "60"], &all[..]].concat()).ok();
    for name in all {
        let code = engine.docker(&["inspect", "--format", "{{.State.ExitCode}}", name]).ok();
        assert_eq!(code, "0", "{name}");
    }
    // What was counted is there again.
    engine.docker(&[&["start"], &all[..]].concat()).ok();
    wait_until(PATIENCE, "the results", || {
        let results = get(engine.host(), "http://127.0.0.1/")?;
        (!results.contains("<strong id=\"total\">0</strong>")).then_some(())
    });
}

fn build(engine: &StockEngine, folder: &Path) {
    let executables = Path::new(env!("CARGO_BIN_EXE_vote")).parent().expect("a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("build-images");
    let mut command = Command::new(script);
    command.args(IMAGES).env("EXECUTABLES", executables).env("INTO", folder.join("images"));
    Output::of(&mut command).ok();
    for image in IMAGES {
        let context = folder.join("images").join(image);
        engine.docker(&["build", "--tag", image, &context.display().to_string()]).ok();
    }
}

/// What a page says, unless it is an error.
fn get(host: &Host, url: &str) -> Option<String> {
    let output =
        Output::of(host.command("curl").args(["--silent", "--fail", "--max-time", "5", url]));
    output.success().then_some(output.stdout)
}
