//! The process of a specification: arguments, environment, user, limits.

use oci_spec::runtime::{
    Capabilities, LinuxCapabilitiesBuilder, Process, ProcessBuilder, UserBuilder,
};

use super::{SpecInput, built, ulimits};
use crate::error::{Error, Result};

/// PATH of a container whose image sets none (moby's `system.DefaultPathEnv`).
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Builds the process.
pub(super) fn process(input: &SpecInput<'_>) -> Result<Process> {
    let user = UserBuilder::default()
        .uid(input.user.uid)
        .gid(input.user.gid)
        .additional_gids(input.user.additional_gids.clone())
        .build();
    let working_dir = input.config.working_dir.as_deref().filter(|dir| !dir.is_empty());
    let mut builder = ProcessBuilder::default()
        .terminal(input.config.tty.unwrap_or(false))
        .user(built(user)?)
        .args(input.args.clone())
        .env(environment(input))
        .cwd(working_dir.unwrap_or("/"))
        .rlimits(ulimits::rlimits(input.host)?);
    // An absent value differs from `false` for libcontainer, which warns or acts on its presence.
    if input.no_new_privileges {
        builder = builder.no_new_privileges(true);
    }
    if let Some(score) = input.host.oom_score_adj.filter(|score| *score != 0) {
        let score = i32::try_from(score).unwrap_or(1000);
        builder = builder.oom_score_adj(score);
    }
    let mut process = built(builder.build())?;
    if !input.no_new_privileges {
        process.set_no_new_privileges(None);
    }
    process.set_capabilities(None);
    if let Some(set) = input.capabilities {
        let names: Capabilities = set
            .names()
            .map(|name| name.trim_start_matches("CAP_").parse())
            .collect::<std::result::Result<_, _>>()
            .map_err(|e| Error::system("naming capabilities").with_source(e))?;
        let mut capabilities = built(
            LinuxCapabilitiesBuilder::default()
                .bounding(names.clone())
                .effective(names.clone())
                .permitted(names)
                .build(),
        )?;
        capabilities.set_inheritable(None);
        capabilities.set_ambient(None);
        process.set_capabilities(Some(capabilities));
    }
    Ok(process)
}

/// PATH, HOSTNAME, TERM and HOME as Docker sets them, then what the configuration says, the last value winning.
pub(crate) fn environment(input: &SpecInput<'_>) -> Vec<String> {
    let mut env = vec![DEFAULT_PATH.to_owned()];
    if let Some(hostname) = input.config.hostname.as_deref() {
        env.push(format!("HOSTNAME={hostname}"));
    }
    if input.config.tty.unwrap_or(false) {
        env.push("TERM=xterm".to_owned());
    }
    for variable in input.config.env.iter().flatten() {
        let name = variable.split('=').next().unwrap_or(variable);
        let prefix = format!("{name}=");
        env.retain(|existing| !existing.starts_with(&prefix));
        if variable.contains('=') {
            env.push(variable.clone());
        }
    }
    if !env.iter().any(|existing| existing.starts_with("HOME=")) {
        env.push(format!("HOME={}", input.user.home));
    }
    env
}
