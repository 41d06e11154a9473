//! JSON of the container that a service's tasks run.

use super::{Driver, Empty, Map, keep, omit};

wire! {
    struct NetworkAttachmentConfig {
        "Target" "omit" target: String,
        "Aliases" "omit" aliases: Vec<String>,
        "DriverOpts" "omit" driver_opts: Map,
    }
    struct FileTarget {
        "Name" "keep" name: String,
        "UID" "keep" uid: String,
        "GID" "keep" gid: String,
        "Mode" "keep" mode: u32,
    }
    struct SecretReference {
        "File" "omit" file: Option<FileTarget>,
        "SecretID" "keep" secret_id: String,
        "SecretName" "keep" secret_name: String,
    }
    struct ConfigReference {
        "File" "omit" file: Option<FileTarget>,
        "Runtime" "omit" runtime: Option<Empty>,
        "ConfigID" "keep" config_id: String,
        "ConfigName" "keep" config_name: String,
    }
    struct DnsConfig {
        "Nameservers" "omit" nameservers: Vec<String>,
        "Search" "omit" search: Vec<String>,
        "Options" "omit" options: Vec<String>,
    }
    struct HealthConfig {
        "Test" "omit" test: Vec<String>,
        "Interval" "omit" interval: i64,
        "Timeout" "omit" timeout: i64,
        "StartPeriod" "omit" start_period: i64,
        "StartInterval" "omit" start_interval: i64,
        "Retries" "omit" retries: i32,
    }
    struct BindOptions {
        "Propagation" "omit" propagation: String,
        "NonRecursive" "omit" non_recursive: bool,
        "CreateMountpoint" "omit" create_mountpoint: bool,
        "ReadOnlyNonRecursive" "omit" read_only_non_recursive: bool,
        "ReadOnlyForceRecursive" "omit" read_only_force_recursive: bool,
    }
    struct VolumeOptions {
        "NoCopy" "omit" no_copy: bool,
        "Labels" "omit" labels: Map,
        "Subpath" "omit" subpath: String,
        "DriverConfig" "omit" driver_config: Option<Driver>,
    }
    struct TmpfsOptions {
        "SizeBytes" "omit" size_bytes: i64,
        "Mode" "omit" mode: u32,
        "Options" "omit" options: Vec<Vec<String>>,
    }
    struct Mount {
        "Type" "omit" kind: String,
        "Source" "omit" source: String,
        "Target" "omit" target: String,
        "ReadOnly" "omit" read_only: bool,
        "Consistency" "omit" consistency: String,
        "BindOptions" "omit" bind_options: Option<BindOptions>,
        "VolumeOptions" "omit" volume_options: Option<VolumeOptions>,
        "TmpfsOptions" "omit" tmpfs_options: Option<TmpfsOptions>,
    }
    struct CredentialSpec {
        "Config" "keep" config: String,
        "File" "keep" file: String,
        "Registry" "keep" registry: String,
    }
    struct SeLinux {
        "Disable" "keep" disable: bool,
        "User" "keep" user: String,
        "Role" "keep" role: String,
        "Type" "keep" kind: String,
        "Level" "keep" level: String,
    }
    struct Seccomp { "Mode" "omit" mode: String, "Profile" "omit" profile: String, }
    struct AppArmor { "Mode" "omit" mode: String, }
    struct Privileges {
        "CredentialSpec" "keep" credential_spec: Option<CredentialSpec>,
        "SELinuxContext" "keep" selinux_context: Option<SeLinux>,
        "Seccomp" "omit" seccomp: Option<Seccomp>,
        "AppArmor" "omit" app_armor: Option<AppArmor>,
        "NoNewPrivileges" "keep" no_new_privileges: bool,
    }
    struct Ulimit { "Name" "keep" name: String, "Hard" "keep" hard: i64, "Soft" "keep" soft: i64, }
    struct ContainerSpec {
        "Image" "omit" image: String,
        "Labels" "omit" labels: Map,
        "Command" "omit" command: Vec<String>,
        "Args" "omit" args: Vec<String>,
        "Hostname" "omit" hostname: String,
        "Env" "omit" env: Vec<String>,
        "Dir" "omit" dir: String,
        "User" "omit" user: String,
        "Groups" "omit" groups: Vec<String>,
        "Privileges" "omit" privileges: Option<Privileges>,
        "Init" "omit" init: Option<bool>,
        "StopSignal" "omit" stop_signal: String,
        "TTY" "omit" tty: bool,
        "OpenStdin" "omit" open_stdin: bool,
        "ReadOnly" "omit" read_only: bool,
        "Mounts" "omit" mounts: Vec<Mount>,
        "StopGracePeriod" "omit" stop_grace_period: Option<i64>,
        "Healthcheck" "omit" healthcheck: Option<HealthConfig>,
        "Hosts" "omit" hosts: Vec<String>,
        "DNSConfig" "omit" dns_config: Option<DnsConfig>,
        "Secrets" "omit" secrets: Vec<SecretReference>,
        "Configs" "omit" configs: Vec<ConfigReference>,
        "Isolation" "omit" isolation: String,
        "Sysctls" "omit" sysctls: Map,
        "CapabilityAdd" "omit" capability_add: Vec<String>,
        "CapabilityDrop" "omit" capability_drop: Vec<String>,
        "Ulimits" "omit" ulimits: Vec<Ulimit>,
        "OomScoreAdj" "omit" oom_score_adj: i64,
    }
}
