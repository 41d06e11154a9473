//! JSON of tasks and of the networks that they are attached to.

use super::{Driver, GenericResource, Map, Port, TaskSpec, Version, keep, omit};

wire! {
    struct ContainerStatus {
        "ContainerID" "keep" container_id: String,
        "PID" "keep" pid: i32,
        "ExitCode" "keep" exit_code: i32,
    }
    struct PortStatus { "Ports" "omit" ports: Vec<Port>, }
    struct TaskStatus {
        "Timestamp" "keep" timestamp: String,
        "State" "omit" state: String,
        "Message" "omit" message: String,
        "Err" "omit" err: String,
        "ContainerStatus" "omit" container_status: Option<ContainerStatus>,
        "PortStatus" "keep" port_status: PortStatus,
    }
    struct IpamConfig {
        "Subnet" "omit" subnet: String,
        "Range" "omit" range: String,
        "Gateway" "omit" gateway: String,
    }
    struct IpamOptions { "Driver" "keep" driver: Driver, "Configs" "omit" configs: Vec<IpamConfig>, }
    struct NetworkSpec {
        "Name" "omit" name: String,
        "Labels" "keep" labels: Map,
        "DriverConfiguration" "omit" driver_configuration: Option<Driver>,
        "IPv6Enabled" "omit" ipv6_enabled: bool,
        "Internal" "omit" internal: bool,
        "Attachable" "omit" attachable: bool,
        "Ingress" "omit" ingress: bool,
        "IPAMOptions" "omit" ipam_options: Option<IpamOptions>,
        "Scope" "omit" scope: String,
    }
    struct AttachedNetwork {
        "ID" "omit" id: String,
        "Version" "keep" version: Version,
        "CreatedAt" "keep" created_at: String,
        "UpdatedAt" "keep" updated_at: String,
        "Spec" "keep" spec: NetworkSpec,
        "DriverState" "keep" driver_state: Driver,
        "IPAMOptions" "omit" ipam_options: Option<IpamOptions>,
    }
    struct NetworkAttachment {
        "Network" "keep" network: AttachedNetwork,
        "Addresses" "omit" addresses: Vec<String>,
    }
    struct VolumeAttachment {
        "ID" "omit" id: String,
        "Source" "omit" source: String,
        "Target" "omit" target: String,
    }
    struct Task {
        "ID" "keep" id: String,
        "Version" "keep" version: Version,
        "CreatedAt" "keep" created_at: String,
        "UpdatedAt" "keep" updated_at: String,
        "Name" "omit" name: String,
        "Labels" "keep" labels: Map,
        "Spec" "keep" spec: TaskSpec,
        "ServiceID" "omit" service_id: String,
        "Slot" "omit" slot: u64,
        "NodeID" "omit" node_id: String,
        "Status" "keep" status: TaskStatus,
        "DesiredState" "omit" desired_state: String,
        "NetworksAttachments" "omit" networks_attachments: Vec<NetworkAttachment>,
        "GenericResources" "omit" generic_resources: Vec<GenericResource>,
        "JobIteration" "omit" job_iteration: Option<Version>,
        "Volumes" "keep" volumes: Option<Vec<VolumeAttachment>>,
    }
}
