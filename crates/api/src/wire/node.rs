//! JSON of nodes.

use super::{GenericResource, Map, Platform, TlsInfo, Version, keep, omit};

wire! {
    struct NodeSpec {
        "Name" "omit" name: String,
        "Labels" "keep" labels: Map,
        "Role" "omit" role: String,
        "Availability" "omit" availability: String,
    }
    struct Resources {
        "NanoCPUs" "omit" nano_cpus: i64,
        "MemoryBytes" "omit" memory_bytes: i64,
        "GenericResources" "omit" generic_resources: Vec<GenericResource>,
    }
    struct Plugin { "Type" "omit" kind: String, "Name" "omit" name: String, }
    struct EngineDescription {
        "EngineVersion" "omit" engine_version: String,
        "Labels" "omit" labels: Map,
        "Plugins" "omit" plugins: Vec<Plugin>,
    }
    struct NodeDescription {
        "Hostname" "omit" hostname: String,
        "Platform" "keep" platform: Platform,
        "Resources" "keep" resources: Resources,
        "Engine" "keep" engine: EngineDescription,
        "TLSInfo" "keep" tls_info: TlsInfo,
    }
    struct NodeStatus {
        "State" "omit" state: String,
        "Message" "omit" message: String,
        "Addr" "omit" addr: String,
    }
    struct ManagerStatus {
        "Leader" "omit" leader: bool,
        "Reachability" "omit" reachability: String,
        "Addr" "omit" addr: String,
    }
    struct Node {
        "ID" "keep" id: String,
        "Version" "keep" version: Version,
        "CreatedAt" "keep" created_at: String,
        "UpdatedAt" "keep" updated_at: String,
        "Spec" "keep" spec: NodeSpec,
        "Description" "keep" description: NodeDescription,
        "Status" "keep" status: NodeStatus,
        "ManagerStatus" "omit" manager_status: Option<ManagerStatus>,
    }
}
