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
    let placement = Placement { constraints: vec!["node.role".into()], ..Default::default() };
    constrained.task.as_mut().expect("a task").placement = Some(placement);
    refused(
        create(&mut client, constrained).await,
        "Unknown desc = constraint expected one operator from ==, !=",
    );
    assert_eq!(store.view().len::<Service>(), 0);
}
