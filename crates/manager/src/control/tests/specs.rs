//! Malformed service specs, each refused with SwarmKit's text.

use super::*;

#[tokio::test]
async fn malformed_services_are_refused() {
    let (store, mut client) = cluster().await;
    type Spoil = fn(&mut ServiceSpec);
    let cases: Vec<(Spoil, &str)> = vec![
        (|s| s.annotations = None, "meta: name must be provided"),
        (|s| s.annotations = annotations("a.b"), "name must be valid as a DNS name component"),
        (|s| s.task = None, "TaskSpec: missing runtime"),
        (|s| s.mode = None, "Unrecognized service mode"),
        (
            |s| s.mode = Some(Mode::Replicated(ReplicatedService { replicas: u64::MAX })),
            "Number of replicas must be non-negative",
        ),
        (|s| container(s).image.clear(), "ContainerSpec: image reference must be provided"),
        (
            |s| container(s).image = "no image".into(),
            "ContainerSpec: \"no image\" is not a valid repository/tag",
        ),
        (
            |s| container(s).mounts = vec![Mount { target: "/x".into(), ..Default::default() }; 2],
            "ContainerSpec: duplicate mount point: /x",
        ),
        (
            |s| container(s).hostname = "{{.Node.Nope}}".into(),
            "expanding hostname failed: template: expansion:1:7: executing \"expansion\" at \
             <.Node.Nope>: can't evaluate field Nope in type struct { ID string; Hostname string; \
             Platform template.Platform }",
        ),
        (
            |s| container(s).env = vec!["A={{nope}}".into()],
            "expanding env failed: expanding env \"A={{nope}}\": template: expansion:1: function \
             \"nope\" not defined",
        ),
        (
            |s| {
                let target = "/{{.Task.Slot}}".into();
                let other = Mount { target: "/1".into(), ..Default::default() };
                container(s).mounts = vec![Mount { target, ..Default::default() }, other];
            },
            "ContainerSpec: duplicate mount point: /1",
        ),
        (
            |s| {
                let interval = Some(prost_types::Duration { seconds: 0, nanos: 1 });
                container(s).healthcheck = Some(HealthConfig { interval, ..Default::default() });
            },
            "ContainerSpec: Interval in HealthConfig cannot be less than 1ms",
        ),
        (
            |s| {
                let limits = Some(Resources { nano_cpus: 1000, ..Default::default() });
                let resources = ResourceRequirements { limits, ..Default::default() };
                s.task.as_mut().expect("a task").resources = Some(resources);
            },
            "invalid cpu value 1e-06: Must be at least 0.001",
        ),
        (
            |s| {
                let reservations = Some(Resources { memory_bytes: 1, ..Default::default() });
                let resources = ResourceRequirements { reservations, ..Default::default() };
                s.task.as_mut().expect("a task").resources = Some(resources);
            },
            "invalid memory value 1: Must be at least 4MiB",
        ),
        (
            |s| {
                let delay = Some(prost_types::Duration { seconds: -1, nanos: 0 });
                s.update = Some(UpdateConfig { delay, ..Default::default() });
            },
            "TaskSpec: update-delay cannot be negative",
        ),
        (
            |s| s.update = Some(UpdateConfig { max_failure_ratio: 1.5, ..Default::default() }),
            "TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1",
        ),
        (
            |s| {
                s.mode = Some(Mode::GlobalJob(GlobalJob {}));
                s.update = Some(UpdateConfig::default());
            },
            "Jobs may not have an update config",
        ),
        (
            |s| {
                *s = with_ports("web", vec![port(80, PublishMode::Host)]);
                s.endpoint.as_mut().expect("ports").ports[0].target_port = 0;
            },
            "EndpointSpec: invalid target port 0: must be from 1 to 65535",
        ),
        (
            |s| *s = with_ports("web", vec![port(65_536, PublishMode::Host)]),
            "EndpointSpec: invalid published port 65536: must be from 0 to 65535",
        ),
        (
            |s| {
                let job = ReplicatedJob { max_concurrent: u64::MAX, total_completions: 1 };
                s.mode = Some(Mode::ReplicatedJob(job));
            },
            "Maximum concurrent jobs must not be negative",
        ),
        (
            |s| {
                let job = ReplicatedJob { max_concurrent: 1, total_completions: u64::MAX };
                s.mode = Some(Mode::ReplicatedJob(job));
            },
            "Total completed jobs must not be negative",
        ),
        (
            |s| {
                let delay = Some(prost_types::Duration { seconds: -1, nanos: 0 });
                let restart = Some(RestartPolicy { delay, ..Default::default() });
                s.task.as_mut().expect("a task").restart = restart;
            },
            "TaskSpec: restart-delay cannot be negative",
        ),
        (
            |s| {
                let window = Some(prost_types::Duration { seconds: 0, nanos: -1 });
                let restart = Some(RestartPolicy { window, ..Default::default() });
                s.task.as_mut().expect("a task").restart = restart;
            },
            "TaskSpec: restart-window cannot be negative",
        ),
        (
            |s| {
                let monitor = Some(prost_types::Duration { seconds: -1, nanos: 0 });
                s.update = Some(UpdateConfig { monitor, ..Default::default() });
            },
            "TaskSpec: update-monitor cannot be negative",
        ),
        (
            |s| {
                let check = HealthConfig { retries: -1, ..Default::default() };
                container(s).healthcheck = Some(check);
            },
            "ContainerSpec: Retries in HealthConfig cannot be negative",
        ),
        (
            |s| *s = with_ports("web", vec![port(80, PublishMode::Host); 2]),
            "EndpointSpec: duplicate published ports provided",
        ),
        (
            |s| {
                *s = with_ports("web", vec![port(80, PublishMode::Ingress)]);
                s.endpoint.as_mut().expect("ports").set_mode(ResolutionMode::Dnsrr);
            },
            "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
        ),
        (
            |s| {
                container(s).secrets = vec![SecretReference {
                    secret_id: "s".into(),
                    secret_name: "password".into(),
                    target: Some(secret_reference::Target::File(FileTarget {
                        name: "p".into(),
                        ..Default::default()
                    })),
                }];
            },
            "secret not found: password",
        ),
        (|s| container(s).configs = vec![ConfigReference::default()], "malformed config reference"),
    ];
    for (spoil, expect) in cases {
        let mut spoilt = spec("web");
        spoil(&mut spoilt);
        refused(create(&mut client, spoilt).await, &format!("InvalidArgument desc = {expect}"));
    }
    let mut constrained = spec("web");
    for (constraint, expect) in [
        ("node.role", "Unknown desc = constraint expected one operator from ==, !="),
        (
            "service.nam==web",
            "InvalidArgument desc = constraint service.nam==web: key 'service.nam' is invalid",
        ),
    ] {
        let placement = Placement { constraints: vec![constraint.into()], ..Default::default() };
        constrained.task.as_mut().expect("a task").placement = Some(placement);
        refused(create(&mut client, constrained.clone()).await, expect);
    }
    for (descriptor, expect) in [
        (
            "service.name",
            "placement preference spread=service.name: constraint expected one operator from ==, !=",
        ),
        (
            "service.nam!=web",
            "placement preference spread=service.nam!=web: key 'service.nam' is invalid",
        ),
    ] {
        let over = SpreadOver { spread_descriptor: descriptor.into() };
        let preference = Some(placement_preference::Preference::Spread(over));
        let preferences = vec![PlacementPreference { preference }];
        let mut preferring = spec("web");
        preferring.task.as_mut().expect("a task").placement =
            Some(Placement { preferences, ..Default::default() });
        refused(create(&mut client, preferring).await, &format!("InvalidArgument desc = {expect}"));
    }
    assert_eq!(store.view().len::<Service>(), 0);
}
