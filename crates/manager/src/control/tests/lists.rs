//! Filters of lists, and counts of tasks.

use super::*;

#[tokio::test]
async fn lists_are_filtered() {
    let (store, mut client) = cluster().await;
    let mut labelled = spec("web");
    labelled.annotations.as_mut().expect("a name").labels.insert("tier".into(), "front".into());
    let web = create(&mut client, labelled).await.expect("created");
    create(&mut client, spec("worker")).await.expect("created");
    let running = |id: &str, desired: TaskState, state: TaskState| Task {
        id: id.into(),
        service_id: web.id.clone(),
        node_id: "worker".into(),
        slot: 1,
        desired_state: desired.into(),
        service_annotations: annotations("web"),
        status: Some(TaskStatus { state: state.into(), ..Default::default() }),
        ..Default::default()
    };
    let tasks = [
        running("t1", TaskState::Running, TaskState::Running),
        running("t2", TaskState::Shutdown, TaskState::Failed),
    ];
    store
        .update(|tx| tasks.into_iter().try_for_each(|task| tx.create(task)))
        .await
        .expect("written");
    use list_services_request::Filters;
    let name = |name: &str| vec![name.to_owned()];
    for (filters, expect) in [
        (Filters::default(), 2),
        (Filters { names: name("web"), ..Default::default() }, 1),
        (Filters { name_prefixes: name("w"), ..Default::default() }, 2),
        (Filters { id_prefixes: name(&web.id[..6]), ..Default::default() }, 1),
        (Filters { labels: [("tier".to_owned(), String::new())].into(), ..Default::default() }, 1),
        (
            Filters {
                labels: [("tier".to_owned(), "back".to_owned())].into(),
                ..Default::default()
            },
            0,
        ),
        (Filters { runtimes: name("container"), ..Default::default() }, 2),
        (Filters { runtimes: name("attachment"), ..Default::default() }, 0),
    ] {
        let request = ListServicesRequest { filters: Some(filters.clone()) };
        let found =
            client.list_services(request).await.expect("listed").into_inner().services.len();
        assert_eq!(found, expect, "{filters:?}");
    }
    use list_tasks_request::Filters as TaskFilters;
    for (filters, expect) in [
        (TaskFilters::default(), 2),
        (TaskFilters { names: name("web.1.t1"), ..Default::default() }, 1),
        (TaskFilters { service_ids: name(&web.id), ..Default::default() }, 2),
        (TaskFilters { service_ids: name("other"), ..Default::default() }, 0),
        (TaskFilters { node_ids: name("worker"), ..Default::default() }, 2),
        (TaskFilters { desired_states: vec![TaskState::Running.into()], ..Default::default() }, 1),
    ] {
        let request = ListTasksRequest { filters: Some(filters.clone()) };
        let found = client.list_tasks(request).await.expect("listed").into_inner().tasks.len();
        assert_eq!(found, expect, "{filters:?}");
    }
    // Of two services, and of many.
    for others in [0, 30] {
        for n in 0..others {
            create(&mut client, spec(&format!("other{n}"))).await.expect("created");
        }
        let request = ListServiceStatusesRequest { services: vec![web.id.clone(), "gone".into()] };
        let statuses =
            client.list_service_statuses(request).await.expect("listed").into_inner().statuses;
        let counts: Vec<_> = statuses.iter().map(|s| (s.desired_tasks, s.running_tasks)).collect();
        assert_eq!(counts, [(2, 1), (0, 0)]);
    }
}
