//! Secrets, which stand for configs too: both are laid out alike.

use super::*;

#[tokio::test]
async fn secrets_never_show_their_data() {
    let (store, mut client) = cluster().await;
    let wanted = SecretSpec {
        annotations: annotations("password"),
        data: b"x".to_vec(),
        ..Default::default()
    };
    let create_secret = |spec: SecretSpec| CreateSecretRequest { spec: Some(spec) };
    let answer = client.create_secret(create_secret(wanted.clone())).await.expect("created");
    let secret = answer.into_inner().secret.expect("a secret");
    let data =
        |secret: &Secret| secret.spec.as_ref().map(|spec| spec.data.clone()).unwrap_or_default();
    assert!(data(&secret).is_empty());
    assert_eq!(
        store.view().get::<Secret>(&secret.id).map(|stored| data(stored)),
        Some(b"x".to_vec())
    );
    let listed =
        client.list_secrets(ListSecretsRequest::default()).await.expect("listed").into_inner();
    assert!(listed.secrets.len() == 1 && data(&listed.secrets[0]).is_empty());
    let oversized = SecretSpec {
        data: vec![0; 500 * 1024],
        annotations: annotations("big"),
        ..Default::default()
    };
    for (spec, expect) in [
        (wanted.clone(), "AlreadyExists desc = secret password already exists"),
        (
            oversized,
            "InvalidArgument desc = secret data must be larger than 0 and less than 512000 bytes",
        ),
        (SecretSpec::default(), "InvalidArgument desc = name must be provided"),
    ] {
        refused(client.create_secret(create_secret(spec)).await, expect);
    }
    let changed = SecretSpec { data: b"y".to_vec(), ..wanted.clone() };
    let update = |spec| UpdateSecretRequest {
        secret_id: secret.id.clone(),
        secret_version: Some(Version { index: secret.version() }),
        spec: Some(spec),
    };
    refused(
        client.update_secret(update(changed)).await,
        "InvalidArgument desc = only updates to Labels are allowed",
    );
    let mut user = spec("web");
    container(&mut user).secrets = vec![SecretReference {
        secret_id: secret.id.clone(),
        secret_name: "password".into(),
        target: Some(secret_reference::Target::File(FileTarget {
            name: "p".into(),
            ..Default::default()
        })),
    }];
    let service = create(&mut client, user).await.expect("created");
    let remove = RemoveSecretRequest { secret_id: secret.id.clone() };
    refused(
        client.remove_secret(remove.clone()).await,
        "InvalidArgument desc = secret 'password' is in use by the following service: web",
    );
    client.remove_service(RemoveServiceRequest { service_id: service.id }).await.expect("removed");
    client.remove_secret(remove.clone()).await.expect("removed");
    let gone = format!("NotFound desc = could not find secret {}", secret.id);
    refused(client.remove_secret(remove).await, &gone);
    let empty = GetSecretRequest { secret_id: String::new() };
    refused(client.get_secret(empty).await, "InvalidArgument desc = secret ID must be provided");
}
