//! The security options of a task: seccomp, AppArmor, SELinux, no new privileges.
//!
//! Mirrors moby's `containerConfig.applyPrivileges`; what this engine has no part in is refused by name.

use swarm_proto::v1::ContainerSpec;
use swarm_proto::v1::privileges::SeLinuxContext;
use swarm_proto::v1::privileges::app_armor_opts::AppArmorMode;
use swarm_proto::v1::privileges::seccomp_opts::SeccompMode;

/// The options as `--security-opt` writes them.
///
/// # Errors
/// A text for the task's status where the task asks for what this engine lacks.
pub(super) fn security_options(spec: &ContainerSpec) -> Result<Vec<String>, String> {
    let mut options = Vec::new();
    let Some(privileges) = &spec.privileges else { return Ok(options) };
    if privileges.credential_spec.is_some() {
        return Err("credential specs are for Windows containers, which this node can't run".into());
    }
    if let Some(context) = &privileges.selinux_context {
        if is_labelled(context) {
            return Err("SELinux labels are not supported by this node's engine".into());
        }
        if context.disable {
            options.push("label=disable".to_owned());
        }
    }
    if privileges.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    if let Some(seccomp) = &privileges.seccomp {
        match seccomp.mode() {
            SeccompMode::Default => {}
            SeccompMode::Unconfined => options.push("seccomp=unconfined".to_owned()),
            SeccompMode::Custom => {
                options.push(format!("seccomp={}", String::from_utf8_lossy(&seccomp.profile)));
            }
        }
    }
    if privileges.apparmor.as_ref().is_some_and(|opts| opts.mode() == AppArmorMode::Disabled) {
        options.push("apparmor=unconfined".to_owned());
    }
    Ok(options)
}

fn is_labelled(context: &SeLinuxContext) -> bool {
    [&context.user, &context.role, &context.r#type, &context.level].iter().any(|l| !l.is_empty())
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::Privileges;
    use swarm_proto::v1::privileges::{AppArmorOpts, CredentialSpec, SeccompOpts};

    use super::*;

    #[test]
    fn options_are_dockers() {
        let seccomp = |mode: SeccompMode, profile: &[u8]| Privileges {
            seccomp: Some(SeccompOpts { mode: mode.into(), profile: profile.to_vec() }),
            ..Privileges::default()
        };
        let selinux = |context| Privileges { selinux_context: Some(context), ..Default::default() };
        let labelled = SeLinuxContext { role: "r".into(), ..Default::default() };
        let disabled = SeLinuxContext { disable: true, ..Default::default() };
        let unconfined = AppArmorOpts { mode: AppArmorMode::Disabled.into() };
        for (privileges, expect) in [
            (Privileges::default(), Ok(vec![])),
            (seccomp(SeccompMode::Default, b""), Ok(vec![])),
            (seccomp(SeccompMode::Unconfined, b""), Ok(vec!["seccomp=unconfined"])),
            (seccomp(SeccompMode::Custom, b"{}"), Ok(vec!["seccomp={}"])),
            (
                Privileges { no_new_privileges: true, ..Default::default() },
                Ok(vec!["no-new-privileges"]),
            ),
            (
                Privileges { apparmor: Some(unconfined), ..Default::default() },
                Ok(vec!["apparmor=unconfined"]),
            ),
            (selinux(disabled), Ok(vec!["label=disable"])),
            (selinux(labelled), Err("SELinux labels are not supported by this node's engine")),
            (
                Privileges {
                    credential_spec: Some(CredentialSpec::default()),
                    ..Default::default()
                },
                Err("credential specs are for Windows containers, which this node can't run"),
            ),
        ] {
            let spec = ContainerSpec { privileges: Some(privileges), ..ContainerSpec::default() };
            let options = security_options(&spec);
            let expect = expect
                .map(|words: Vec<&str>| words.into_iter().map(str::to_owned).collect::<Vec<_>>())
                .map_err(str::to_owned);
            assert_eq!(options, expect);
        }
    }
}
