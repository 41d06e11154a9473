//! The process that the engine's tests need beside themselves: the shim's executable, and a daemon to kill.

use std::path::PathBuf;

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((applet, rest)) if applet == "shim" => {
            let code = swarm_engine::shim::main(rest);
            std::process::ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
        Some((applet, rest)) if applet == "daemon" => daemon(rest),
        _ => std::process::ExitCode::from(2),
    }
}

/// Opens an engine on the roots `<folder>/data` and `<folder>/exec`, starts the container `<name>`, says so in a file,
/// and waits to be killed.
fn daemon(args: &[String]) -> std::process::ExitCode {
    let [folder, name] = args else { return std::process::ExitCode::from(2) };
    let folder = PathBuf::from(folder);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(|e| e.to_string()).and_then(|runtime| {
        runtime.block_on(async {
            let exe = std::env::current_exe().map_err(|e| e.to_string())?;
            let mut config =
                swarm_engine::EngineConfig::new(folder.join("data"), folder.join("exec"), exe);
            config.cgroup_parent = PathBuf::from("/swarm-engine-test");
            let engine =
                swarm_engine::Engine::open(config, None).await.map_err(|e| e.to_string())?;
            engine.start(name).await.map_err(|e| e.to_string())?;
            std::fs::write(folder.join("started"), "").map_err(|e| e.to_string())?;
            std::future::pending::<Result<(), String>>().await
        })
    });
    let _ = std::fs::write(folder.join("failed"), format!("{done:?}"));
    std::process::ExitCode::FAILURE
}
