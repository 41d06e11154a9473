//! Security settings of a service's containers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use swarm_proto::v1;
use swarm_proto::v1::privileges::app_armor_opts::AppArmorMode;
use swarm_proto::v1::privileges::credential_spec::Source;
use swarm_proto::v1::privileges::seccomp_opts::SeccompMode;
use swarm_proto::v1::privileges::{AppArmorOpts, CredentialSpec, SeLinuxContext, SeccompOpts};

use crate::error::ApiError;
use crate::wire;

pub(crate) fn privileges(json: &wire::Privileges) -> Result<v1::Privileges, ApiError> {
    Ok(v1::Privileges {
        credential_spec: json.credential_spec.as_ref().map(credential_spec).transpose()?,
        selinux_context: json.selinux_context.as_ref().map(|s| SeLinuxContext {
            disable: s.disable,
            user: s.user.clone(),
            role: s.role.clone(),
            r#type: s.kind.clone(),
            level: s.level.clone(),
        }),
        seccomp: json.seccomp.as_ref().map(seccomp).transpose()?,
        apparmor: json.app_armor.as_ref().map(app_armor).transpose()?,
        no_new_privileges: json.no_new_privileges,
    })
}

fn app_armor(json: &wire::AppArmor) -> Result<AppArmorOpts, ApiError> {
    let mode = match json.mode.as_str() {
        "" | "default" => AppArmorMode::Default,
        "disabled" => AppArmorMode::Disabled,
        other => return Err(ApiError::invalid(format!("invalid AppArmor mode: {other:?}"))),
    };
    Ok(AppArmorOpts { mode: mode.into() })
}

fn seccomp(json: &wire::Seccomp) -> Result<SeccompOpts, ApiError> {
    let mode = match json.mode.as_str() {
        "unconfined" => SeccompMode::Unconfined,
        "custom" => SeccompMode::Custom,
        "" | "default" => SeccompMode::Default,
        other => return Err(ApiError::invalid(format!("invalid Seccomp mode: {other:?}"))),
    };
    let profile = STANDARD
        .decode(&json.profile)
        .map_err(|error| ApiError::invalid(format!("invalid JSON: seccomp profile: {error}")))?;
    Ok(SeccompOpts { mode: mode.into(), profile })
}

fn credential_spec(json: &wire::CredentialSpec) -> Result<CredentialSpec, ApiError> {
    let given: Vec<(&str, Source)> = [
        ("\"config\"", &json.config, Source::Config as fn(String) -> Source),
        ("\"file\"", &json.file, Source::File),
        ("\"registry\"", &json.registry, Source::Registry),
    ]
    .into_iter()
    .filter(|(_, value, _)| !value.is_empty())
    .map(|(name, value, source)| (name, source(value.clone())))
    .collect();
    let message = match given.as_slice() {
        [(_, source)] => return Ok(CredentialSpec { source: Some(source.clone()) }),
        [] => "must either provide \"file\", \"registry\", or \"config\" for credential spec"
            .to_owned(),
        [(a, _), (b, _)] => format!("cannot specify both {a} and {b} credential specs"),
        [first @ .., (last, _)] => {
            let names: Vec<_> = first.iter().map(|(name, _)| *name).collect();
            format!("cannot specify both {}, and {last} credential specs", names.join(", "))
        }
    };
    Err(ApiError::invalid(format!("invalid CredentialSpec: {message}")))
}

pub(crate) fn privileges_json(privileges: &v1::Privileges) -> wire::Privileges {
    wire::Privileges {
        credential_spec: privileges.credential_spec.as_ref().map(credential_spec_json),
        selinux_context: privileges.selinux_context.as_ref().map(|s| wire::SeLinux {
            disable: s.disable,
            user: s.user.clone(),
            role: s.role.clone(),
            kind: s.r#type.clone(),
            level: s.level.clone(),
        }),
        seccomp: privileges.seccomp.as_ref().map(|s| wire::Seccomp {
            mode: SeccompMode::try_from(s.mode).unwrap_or_default().as_str_name().to_lowercase(),
            profile: STANDARD.encode(&s.profile),
        }),
        app_armor: privileges.apparmor.as_ref().map(|a| wire::AppArmor {
            mode: AppArmorMode::try_from(a.mode).unwrap_or_default().as_str_name().to_lowercase(),
        }),
        no_new_privileges: privileges.no_new_privileges,
    }
}

fn credential_spec_json(spec: &CredentialSpec) -> wire::CredentialSpec {
    let mut json = wire::CredentialSpec::default();
    match spec.source.clone() {
        Some(Source::Config(value)) => json.config = value,
        Some(Source::File(value)) => json.file = value,
        Some(Source::Registry(value)) => json.registry = value,
        None => {}
    }
    json
}
