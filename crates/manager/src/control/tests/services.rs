//! Services: their life, what is refused, ports, lists.

use super::*;

#[tokio::test]
async fn services_are_created_updated_and_removed() {
    let (_, mut client) = cluster().await;
    let first = create(&mut client, spec("web")).await.expect("created");
    refused(
        create(&mut client, spec("WEB")).await,
        "AlreadyExists desc = name conflicts with an existing object: service WEB already exists",
    );
    let mut wanted = spec("web");
    wanted.mode = Some(Mode::Replicated(ReplicatedService { replicas: 5 }));
    let answer = client.update_service(update_of(&first, wanted.clone())).await.expect("updated");
    let second = answer.into_inner().service.expect("a service");
    assert_eq!((&second.spec, &second.previous_spec), (&Some(wanted.clone()), &first.spec));
    assert_eq!(second.spec_version.map(|v| v.index), Some(first.version()));
    refused(
        client.update_service(update_of(&first, wanted)).await,
        "Unknown desc = update out of sequence",
    );
    let rollback = UpdateServiceRequest {
        rollback: Rollback::Previous.into(),
        ..update_of(&second, spec("web"))
    };
    let third = client.update_service(rollback).await.expect("rolled back").into_inner().service;
    let third = third.expect("a service");
    assert_eq!((&third.spec, &third.previous_spec), (&first.spec, &second.spec));
    assert_eq!(
        third.update_status.map(|s| s.message).as_deref(),
        Some("manually requested rollback")
    );
    let get = GetServiceRequest { service_id: first.id.clone(), insert_defaults: true };
    let shown = client.get_service(get.clone()).await.expect("found").into_inner().service;
    assert_eq!(shown.and_then(|s| s.spec?.update).map(|update| update.parallelism), Some(1));
    let remove = RemoveServiceRequest { service_id: first.id.clone() };
    client.remove_service(remove.clone()).await.expect("removed");
    let gone = format!("NotFound desc = service {} not found", first.id);
    refused(client.remove_service(remove).await, &gone);
    refused(client.get_service(get).await, &gone);
}

#[tokio::test]
async fn an_update_is_out_of_sequence_only_if_the_spec_changed_meanwhile() {
    let (store, mut client) = cluster().await;
    let first = create(&mut client, spec("web")).await.expect("created");
    let progress = |message: &'static str| {
        let (store, id) = (store.clone(), first.id.clone());
        async move {
            let written = store.update(|tx| {
                let mut service = Service::clone(tx.get::<Service>(&id).expect("is there"));
                service.update_status.get_or_insert_default().message = message.to_owned();
                tx.update(service)
            });
            written.await.expect("written");
        }
    };
    let scaled = |replicas| ServiceSpec {
        mode: Some(Mode::Replicated(ReplicatedService { replicas })),
        ..spec("web")
    };
    let updated = |answer: Result<tonic::Response<UpdateServiceResponse>, Status>| {
        answer.expect("updated").into_inner().service.expect("a service")
    };
    // The status moved on since it was read, the spec did not.
    progress("update in progress").await;
    let second = updated(client.update_service(update_of(&first, scaled(3))).await);
    progress("update in progress").await;
    progress("update completed").await;
    let third = updated(client.update_service(update_of(&second, scaled(4))).await);
    assert_eq!(third.spec, Some(scaled(4)));
    let out_of_sequence = "Unknown desc = update out of sequence";
    for stale in [&first, &second] {
        refused(client.update_service(update_of(stale, scaled(5))).await, out_of_sequence);
    }
    // A rollback changes the spec too, though its version goes back.
    let back = UpdateServiceRequest {
        rollback: Rollback::Previous.into(),
        ..update_of(&third, scaled(4))
    };
    let fourth = updated(client.update_service(back).await);
    assert_eq!(fourth.spec, Some(scaled(3)));
    progress("rollback completed").await;
    refused(client.update_service(update_of(&third, scaled(5))).await, out_of_sequence);
    let mut unborn = fourth.clone();
    unborn.meta_mut().version = Some(Version { index: 1_000_000 });
    refused(client.update_service(update_of(&unborn, scaled(5))).await, out_of_sequence);
    updated(client.update_service(update_of(&fourth, scaled(6))).await);
}

#[tokio::test]
async fn changes_that_need_a_new_service_are_refused() {
    let (_, mut client) = cluster().await;
    let service = create(&mut client, spec("web")).await.expect("created");
    let global = ServiceSpec { mode: Some(Mode::Global(GlobalService {})), ..spec("web") };
    for (wanted, expect) in [
        (spec("api"), "Unimplemented desc = renaming services is not supported"),
        (global, "Unimplemented desc = service mode change is not allowed"),
    ] {
        refused(client.update_service(update_of(&service, wanted)).await, expect);
    }
    let nobody = Service { id: "nobody".into(), ..service };
    refused(
        client.update_service(update_of(&nobody, spec("web"))).await,
        "NotFound desc = service nobody not found",
    );
}

#[tokio::test]
async fn published_ports_collide() {
    let (store, mut client) = cluster().await;
    refused(
        create(&mut client, with_ports("web", vec![port(80, PublishMode::Ingress)])).await,
        "FailedPrecondition desc = service needs ingress network, but no ingress network is present",
    );
    let network =
        NetworkSpec { annotations: annotations("ingress"), ingress: true, ..Default::default() };
    let network = Network { id: "ingress".into(), spec: Some(network), ..Default::default() };
    store.update(|tx| tx.create(network)).await.expect("written");
    let first =
        with_ports("first", vec![port(80, PublishMode::Ingress), port(81, PublishMode::Host)]);
    let first = create(&mut client, first).await.expect("created");
    for (number, mode, kind) in [
        (80, PublishMode::Ingress, Some("an ingress")),
        (80, PublishMode::Host, Some("an ingress")),
        (81, PublishMode::Ingress, Some("a host-published")),
        (81, PublishMode::Host, None),
    ] {
        let result = create(&mut client, with_ports("second", vec![port(number, mode)])).await;
        match kind {
            None => drop(result.expect("created")),
            Some(kind) => refused(
                result,
                &format!(
                    "InvalidArgument desc = port '{number}' is already in use by service 'first' ({}) as {kind} port",
                    first.id
                ),
            ),
        }
    }
}

#[tokio::test]
async fn a_job_with_a_schedule_runs_by_an_update_only_where_that_is_forced() {
    let (_, mut client) = cluster().await;
    let job = |labels: &[(&str, &str)], env: &str, force_update: u64| {
        let mut wanted = spec("job");
        wanted.mode =
            Some(Mode::ReplicatedJob(ReplicatedJob { max_concurrent: 1, total_completions: 1 }));
        container(&mut wanted).env = vec![env.to_owned()];
        wanted.task.get_or_insert_default().force_update = force_update;
        wanted.annotations.get_or_insert_default().labels =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        wanted
    };
    let hourly = [("swarm.cron", "@hourly")];
    refused(
        create(&mut client, ServiceSpec { mode: spec("web").mode, ..job(&hourly, "", 0) }).await,
        "InvalidArgument desc = label swarm.cron=\"@hourly\": only jobs have a schedule: \
         create the service with --mode replicated-job or global-job",
    );
    let mut service = create(&mut client, job(&hourly, "", 0)).await.expect("created");
    let stands = |service: &Service| {
        let status = service.job_status.clone().unwrap_or_default();
        let iteration = status.job_iteration.unwrap_or_default().index;
        (iteration, status.cron.is_some_and(|cron| cron.awaits_first))
    };
    assert_eq!(stands(&service), (0, true));
    for (case, wanted, expect) in [
        ("another environment", job(&hourly, "A=b", 0), (0, true)),
        ("forced", job(&hourly, "A=b", 1), (0, false)),
        ("forced again", job(&hourly, "A=b", 2), (1, false)),
        ("another schedule", job(&[("swarm.cron", "@daily")], "A=b", 2), (1, false)),
        ("no schedule any more", job(&[], "A=b", 2), (1, false)),
        ("as Docker's", job(&[], "A=c", 2), (2, false)),
    ] {
        let answer = client.update_service(update_of(&service, wanted)).await.expect("updated");
        service = answer.into_inner().service.expect("a service");
        assert_eq!(stands(&service), expect, "{case}");
    }
}
