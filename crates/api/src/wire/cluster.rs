//! JSON of the swarm itself and of `docker info`'s Swarm section.

use super::{Driver, Map, Version, keep, omit};

wire! {
    struct Orchestration { "TaskHistoryRetentionLimit" "omit" task_history_retention_limit: Option<i64>, }
    struct Raft {
        "SnapshotInterval" "omit" snapshot_interval: u64,
        "KeepOldSnapshots" "omit" keep_old_snapshots: Option<u64>,
        "LogEntriesForSlowFollowers" "omit" log_entries_for_slow_followers: u64,
        "ElectionTick" "keep" election_tick: u32,
        "HeartbeatTick" "keep" heartbeat_tick: u32,
    }
    struct Dispatcher { "HeartbeatPeriod" "omit" heartbeat_period: i64, }
    struct ExternalCa {
        "Protocol" "keep" protocol: String,
        "URL" "keep" url: String,
        "Options" "omit" options: Map,
        "CACert" "keep" ca_cert: String,
    }
    struct CaConfig {
        "NodeCertExpiry" "omit" node_cert_expiry: i64,
        "ExternalCAs" "omit" external_cas: Vec<ExternalCa>,
        "SigningCACert" "omit" signing_ca_cert: String,
        "SigningCAKey" "omit" signing_ca_key: String,
        "ForceRotate" "omit" force_rotate: u64,
    }
    struct TaskDefaults { "LogDriver" "omit" log_driver: Option<Driver>, }
    struct EncryptionConfig { "AutoLockManagers" "keep" auto_lock_managers: bool, }
    struct SwarmSpec {
        "Name" "omit" name: String,
        "Labels" "keep" labels: Map,
        "Orchestration" "keep" orchestration: Orchestration,
        "Raft" "keep" raft: Raft,
        "Dispatcher" "keep" dispatcher: Dispatcher,
        "CAConfig" "keep" ca_config: CaConfig,
        "TaskDefaults" "keep" task_defaults: TaskDefaults,
        "EncryptionConfig" "keep" encryption_config: EncryptionConfig,
    }
    struct TlsInfo {
        "TrustRoot" "omit" trust_root: String,
        "CertIssuerSubject" "omit" cert_issuer_subject: String,
        "CertIssuerPublicKey" "omit" cert_issuer_public_key: String,
    }
    struct ClusterInfo {
        "ID" "keep" id: String,
        "Version" "keep" version: Version,
        "CreatedAt" "keep" created_at: String,
        "UpdatedAt" "keep" updated_at: String,
        "Spec" "keep" spec: SwarmSpec,
        "TLSInfo" "keep" tls_info: TlsInfo,
        "RootRotationInProgress" "keep" root_rotation_in_progress: bool,
        "DefaultAddrPool" "keep" default_addr_pool: Vec<String>,
        "SubnetSize" "keep" subnet_size: u32,
        "DataPathPort" "keep" data_path_port: u32,
    }
    struct JoinTokens { "Worker" "keep" worker: String, "Manager" "keep" manager: String, }
    struct Swarm {
        "ID" "keep" id: String,
        "Version" "keep" version: Version,
        "CreatedAt" "keep" created_at: String,
        "UpdatedAt" "keep" updated_at: String,
        "Spec" "keep" spec: SwarmSpec,
        "TLSInfo" "keep" tls_info: TlsInfo,
        "RootRotationInProgress" "keep" root_rotation_in_progress: bool,
        "DefaultAddrPool" "keep" default_addr_pool: Vec<String>,
        "SubnetSize" "keep" subnet_size: u32,
        "DataPathPort" "keep" data_path_port: u32,
        "JoinTokens" "keep" join_tokens: JoinTokens,
    }
    struct InitBody {
        "ListenAddr" "keep" listen_addr: String,
        "AdvertiseAddr" "keep" advertise_addr: String,
        "DataPathAddr" "keep" data_path_addr: String,
        "DataPathPort" "keep" data_path_port: u32,
        "ForceNewCluster" "keep" force_new_cluster: bool,
        "Spec" "keep" spec: SwarmSpec,
        "AutoLockManagers" "keep" auto_lock_managers: bool,
        "Availability" "keep" availability: String,
        "DefaultAddrPool" "keep" default_addr_pool: Vec<String>,
        "SubnetSize" "keep" subnet_size: u32,
    }
    struct JoinBody {
        "ListenAddr" "keep" listen_addr: String,
        "AdvertiseAddr" "keep" advertise_addr: String,
        "DataPathAddr" "keep" data_path_addr: String,
        "RemoteAddrs" "keep" remote_addrs: Vec<String>,
        "JoinToken" "keep" join_token: String,
        "Availability" "keep" availability: String,
    }
    struct UnlockKey { "UnlockKey" "keep" unlock_key: String, }
    struct Peer { "NodeID" "keep" node_id: String, "Addr" "keep" addr: String, }
    struct SwarmInfo {
        "NodeID" "keep" node_id: String,
        "NodeAddr" "keep" node_addr: String,
        "LocalNodeState" "keep" local_node_state: String,
        "ControlAvailable" "keep" control_available: bool,
        "Error" "keep" error: String,
        "RemoteManagers" "keep" remote_managers: Option<Vec<Peer>>,
        "Nodes" "omit" nodes: u64,
        "Managers" "omit" managers: u64,
        "Cluster" "omit" cluster: Option<ClusterInfo>,
        "Warnings" "omit" warnings: Vec<String>,
    }
}
