//! JSON of services and of the task template that they carry.

use super::{
    ContainerSpec, Driver, Empty, Map, NetworkAttachmentConfig, Resources, Version, keep, omit,
};

wire! {
    struct Replicated { "Replicas" "omit" replicas: Option<u64>, }
    struct ReplicatedJob {
        "MaxConcurrent" "omit" max_concurrent: Option<u64>,
        "TotalCompletions" "omit" total_completions: Option<u64>,
    }
    struct Mode {
        "Replicated" "omit" replicated: Option<Replicated>,
        "Global" "omit" global: Option<Empty>,
        "ReplicatedJob" "omit" replicated_job: Option<ReplicatedJob>,
        "GlobalJob" "omit" global_job: Option<Empty>,
    }
    struct UpdateConfig {
        "Parallelism" "keep" parallelism: u64,
        "Delay" "omit" delay: i64,
        "FailureAction" "omit" failure_action: String,
        "Monitor" "omit" monitor: i64,
        "MaxFailureRatio" "keep" max_failure_ratio: f32,
        "Order" "keep" order: String,
    }
    struct Port {
        "Name" "omit" name: String,
        "Protocol" "omit" protocol: String,
        "TargetPort" "omit" target_port: u32,
        "PublishedPort" "omit" published_port: u32,
        "PublishMode" "omit" publish_mode: String,
    }
    struct EndpointSpec { "Mode" "omit" mode: String, "Ports" "omit" ports: Vec<Port>, }
    struct VirtualIp { "NetworkID" "omit" network_id: String, "Addr" "omit" addr: String, }
    struct Endpoint {
        "Spec" "keep" spec: EndpointSpec,
        "Ports" "omit" ports: Vec<Port>,
        "VirtualIPs" "omit" virtual_ips: Vec<VirtualIp>,
    }
    struct Limit {
        "NanoCPUs" "omit" nano_cpus: i64,
        "MemoryBytes" "omit" memory_bytes: i64,
        "Pids" "omit" pids: i64,
    }
    struct NamedResource { "Kind" "omit" kind: String, "Value" "omit" value: String, }
    struct DiscreteResource { "Kind" "omit" kind: String, "Value" "omit" value: i64, }
    struct GenericResource {
        "NamedResourceSpec" "omit" named: Option<NamedResource>,
        "DiscreteResourceSpec" "omit" discrete: Option<DiscreteResource>,
    }
    struct ResourceRequirements {
        "Limits" "omit" limits: Option<Limit>,
        "Reservations" "omit" reservations: Option<Resources>,
        "SwapBytes" "omit" swap_bytes: Option<i64>,
        "MemorySwappiness" "omit" memory_swappiness: Option<i64>,
    }
    struct RestartPolicy {
        "Condition" "omit" condition: String,
        "Delay" "omit" delay: Option<i64>,
        "MaxAttempts" "omit" max_attempts: Option<u64>,
        "Window" "omit" window: Option<i64>,
    }
    struct Spread { "SpreadDescriptor" "keep" spread_descriptor: String, }
    struct Preference { "Spread" "keep" spread: Option<Spread>, }
    struct Platform { "Architecture" "omit" architecture: String, "OS" "omit" os: String, }
    struct Placement {
        "Constraints" "omit" constraints: Vec<String>,
        "Preferences" "omit" preferences: Vec<Preference>,
        "MaxReplicas" "omit" max_replicas: u64,
        "Platforms" "omit" platforms: Vec<Platform>,
    }
    struct AttachmentSpec { "ContainerID" "keep" container_id: String, }
    struct TaskSpec {
        "ContainerSpec" "omit" container_spec: Option<ContainerSpec>,
        "PluginSpec" "omit" plugin_spec: Option<serde_json::Value>,
        "NetworkAttachmentSpec" "omit" network_attachment_spec: Option<AttachmentSpec>,
        "Resources" "omit" resources: Option<ResourceRequirements>,
        "RestartPolicy" "omit" restart_policy: Option<RestartPolicy>,
        "Placement" "omit" placement: Option<Placement>,
        "Networks" "omit" networks: Vec<NetworkAttachmentConfig>,
        "LogDriver" "omit" log_driver: Option<Driver>,
        "ForceUpdate" "keep" force_update: u64,
        "Runtime" "omit" runtime: String,
    }
    struct ServiceSpec {
        "Name" "omit" name: String,
        "Labels" "keep" labels: Map,
        "TaskTemplate" "keep" task_template: TaskSpec,
        "Mode" "keep" mode: Mode,
        "UpdateConfig" "omit" update_config: Option<UpdateConfig>,
        "RollbackConfig" "omit" rollback_config: Option<UpdateConfig>,
        "Networks" "omit" networks: Vec<NetworkAttachmentConfig>,
        "EndpointSpec" "omit" endpoint_spec: Option<EndpointSpec>,
    }
    struct UpdateStatus {
        "State" "omit" state: String,
        "StartedAt" "omit" started_at: Option<String>,
        "CompletedAt" "omit" completed_at: Option<String>,
        "Message" "omit" message: String,
    }
    struct ServiceStatus {
        "RunningTasks" "keep" running_tasks: u64,
        "DesiredTasks" "keep" desired_tasks: u64,
        "CompletedTasks" "keep" completed_tasks: u64,
    }
    /// The ticks are ours: of a job that has a schedule.
    struct JobStatus {
        "JobIteration" "keep" job_iteration: Version,
        "LastExecution" "keep" last_execution: String,
        "LastTick" "omit" last_tick: Option<String>,
        "LastSkippedTick" "omit" last_skipped_tick: Option<String>,
        "NextTick" "omit" next_tick: Option<String>,
    }
    struct Service {
        "ID" "keep" id: String,
        "Version" "keep" version: Version,
        "CreatedAt" "keep" created_at: String,
        "UpdatedAt" "keep" updated_at: String,
        "Spec" "keep" spec: ServiceSpec,
        "PreviousSpec" "omit" previous_spec: Option<ServiceSpec>,
        "Endpoint" "keep" endpoint: Endpoint,
        "UpdateStatus" "omit" update_status: Option<UpdateStatus>,
        "ServiceStatus" "omit" service_status: Option<ServiceStatus>,
        "JobStatus" "omit" job_status: Option<JobStatus>,
    }
    struct ServiceCreated { "ID" "keep" id: String, "Warnings" "omit" warnings: Vec<String>, }
    struct ServiceUpdated { "Warnings" "keep" warnings: Option<Vec<String>>, }
}
