//! What must be refused, with Docker's status and words, and without asking anybody for a change.

use http::Method;
use tonic::Code;

use super::{Api, FakeControl};
use crate::http::body::JSON_BYTES_MAX;

#[tokio::test]
async fn refusals_outside_a_swarm() {
    let api = Api::alone();
    let not_a_manager = "This node is not a swarm manager. Use \"docker swarm init\"";
    let table: [(Method, &str, &str, u16, &str); 52] = [
        (Method::GET, "/nothing", "", 404, "page not found"),
        (Method::GET, "/v1.40/nothing", "", 404, "page not found"),
        (
            Method::GET,
            "/v1.10/info",
            "",
            400,
            "client version 1.10 is too old. Minimum supported API version is 1.24",
        ),
        (
            Method::GET,
            "/v1.99/info",
            "",
            400,
            "client version 1.99 is too new. Maximum supported API version is 1.51",
        ),
        (Method::POST, "/info", "", 404, "page not found"),
        (Method::DELETE, "/swarm", "", 404, "page not found"),
        (Method::GET, "/swarm", "", 503, not_a_manager),
        (Method::GET, "/nodes", "", 503, not_a_manager),
        (Method::GET, "/services", "", 503, not_a_manager),
        (Method::GET, "/tasks", "", 503, not_a_manager),
        (Method::GET, "/secrets", "", 503, not_a_manager),
        (Method::GET, "/configs", "", 503, not_a_manager),
        (Method::POST, "/services/create", "{}", 503, not_a_manager),
        (Method::POST, "/services/create", "{", 400, "invalid JSON: "),
        (Method::POST, "/services/create", "{} x", 400, "unexpected content after JSON"),
        (Method::POST, "/services/create", r#"{"Name":5}"#, 400, "invalid JSON: invalid type"),
        (Method::POST, "/services/create", r#"{"Labels":[]}"#, 400, "invalid JSON: invalid type"),
        (Method::POST, "/services/x/update", "{}", 400, "invalid service version ''"),
        (
            Method::POST,
            "/services/x/update?version=1&rollback=x",
            "{}",
            400,
            "unrecognized rollback option x",
        ),
        (
            Method::GET,
            "/services/x/logs",
            "",
            400,
            "must specify at least one of 'stdout' or 'stderr'",
        ),
        (
            Method::GET,
            "/services/x/logs?stdout=1&tail=x",
            "",
            400,
            "tail value must be a positive integer",
        ),
        (
            Method::GET,
            "/services/x/logs?stdout=1&tail=-1",
            "",
            400,
            "negative tail values not supported",
        ),
        (Method::GET, "/services/x/logs?stdout=1&since=x", "", 400, "invalid value for \"since\""),
        (Method::GET, "/services?filters={\"foo\":[\"a\"]}", "", 400, "invalid filter 'foo'"),
        (Method::GET, "/services?filters=x", "", 400, "invalid filter"),
        (Method::GET, "/services?status=x", "", 400, "invalid value for status: x"),
        (Method::GET, "/nodes?filters={\"role\":[\"x\"]}", "", 400, "Invalid role filter: 'x'"),
        (
            Method::GET,
            "/nodes?filters={\"membership\":[\"x\"]}",
            "",
            400,
            "Invalid membership filter: 'x'",
        ),
        (Method::POST, "/nodes/x/update?version=1", "{}", 400, "invalid Role: \"\""),
        (
            Method::POST,
            "/nodes/x/update?version=1",
            r#"{"Role":"worker","Availability":"x"}"#,
            400,
            "invalid Availability: \"x\"",
        ),
        (
            Method::POST,
            "/swarm/init",
            r#"{"Availability":"x"}"#,
            400,
            "invalid Availability: \"x\"",
        ),
        (
            Method::POST,
            "/swarm/init",
            r#"{"Spec":{"Name":"x"}}"#,
            400,
            "swarm spec must be named \"default\"",
        ),
        (Method::POST, "/swarm/join", "{}", 400, "at least 1 RemoteAddr is required to join"),
        (Method::POST, "/swarm/leave", "", 503, "This node is not part of a swarm"),
        (Method::POST, "/swarm/unlock", "{}", 409, "swarm is not locked"),
        (
            Method::POST,
            "/swarm/update?version=1&rotateWorkerToken=x",
            "{}",
            400,
            "invalid value for rotateWorkerToken: x",
        ),
        (Method::POST, "/containers/create", "", 400, "config cannot be empty"),
        (Method::POST, "/containers/create", r#"{"Image":"nope"}"#, 404, "No such image: nope"),
        (Method::POST, "/containers/create", r#"{"Image":5}"#, 400, "invalid JSON: "),
        (Method::POST, "/containers/nope/start", "", 404, "No such container: nope"),
        (Method::POST, "/containers/nope/wait", "", 404, "No such container: nope"),
        (Method::POST, "/containers/c1/wait?condition=x", "", 400, "invalid condition: \"x\""),
        (Method::POST, "/containers/c1/stop?t=x", "", 400, "invalid value for t"),
        (
            Method::POST,
            "/containers/c1/attach?stdin=1",
            "",
            501,
            "attaching standard input is not supported",
        ),
        (Method::POST, "/containers/c1/exec", "", 501, "exec of containers is not supported"),
        (Method::GET, "/containers/c1/logs", "", 400, "you must choose at least one stream"),
        (Method::GET, "/containers/json?limit=x", "", 400, "invalid value for limit"),
        (Method::POST, "/images/create", "", 400, "either fromImage or fromSrc is required"),
        (
            Method::DELETE,
            "/networks/host",
            "",
            403,
            "host is a pre-defined network and cannot be removed",
        ),
        (Method::POST, "/networks/create", r#"{"Name":"x","Driver":"overlay"}"#, 501, "overlay"),
        (Method::POST, "/build", "", 501, "/build is not supported by this daemon"),
        (
            Method::GET,
            "/events?since=5&until=2",
            "",
            400,
            "`since` time (5) cannot be after `until` time (2)",
        ),
    ];
    for (method, uri, body, status, message) in table {
        let uri = uri.replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
        let (got, text) = api.call(method.clone(), &uri, body).await;
        assert_eq!(got, status, "{method} {uri}: {text}");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let got = json["message"].as_str().unwrap_or_default();
        assert!(got.contains(message), "{method} {uri}: {got}");
    }
    assert!(api.cluster.inits.lock().expect("lock").is_empty());
    assert!(api.cluster.joins.lock().expect("lock").is_empty());
}

#[tokio::test]
async fn wrong_specifications_never_reach_the_cluster() {
    let table = [
        (r#"{"Name":"a"}"#, "mismatched Runtime and *Spec fields"),
        (r#"{"TaskTemplate":{"Runtime":"x","ContainerSpec":{}}}"#, "unsupported runtime"),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{}},"Mode":{"Global":{},"Replicated":{}}}"#,
            "only one service mode",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{}},"EndpointSpec":{"Mode":"x"}}"#,
            "invalid resolution mode: \"x\"",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{},"RestartPolicy":{"Condition":"x"}}}"#,
            "invalid RestartCondition: \"x\"",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{}},"UpdateConfig":{"Order":"x"}}"#,
            "unrecognized update order x",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{}},"UpdateConfig":{"FailureAction":"x"}}"#,
            "unrecognized update failure action x",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{"Mounts":[{"Type":"x"}]}}}"#,
            "invalid MountType: \"x\"",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{"Mounts":[{"Consistency":"x"}]}}}"#,
            "invalid MountConsistency: \"x\"",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{"Mounts":[{"BindOptions":{"Propagation":"x"}}]}}}"#,
            "invalid MountPropagation: \"x\"",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{},"Placement":{"Preferences":[{"Pack":{}}]}}}"#,
            "invalid placement preference: only Spread is known",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{},"Resources":{"Reservations":{"GenericResources":[{}]}}}}"#,
            "invalid generic resource",
        ),
        (r#"{"TaskTemplate":{"ContainerSpec":{"Isolation":"x"}}}"#, "invalid Isolation: \"x\""),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{"Privileges":{"Seccomp":{"Mode":"x"}}}}}"#,
            "invalid Seccomp mode: \"x\"",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{"Privileges":{"AppArmor":{"Mode":"x"}}}}}"#,
            "invalid AppArmor mode: \"x\"",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{"DNSConfig":{"Nameservers":["x"]}}}}"#,
            "ParseAddr(\"x\"): unable to parse IP",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{}},"EndpointSpec":{"Ports":[{"Protocol":"x"}]}}"#,
            "invalid protocol: \"x\"",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{}},"EndpointSpec":{"Ports":[{"PublishMode":"x"}]}}"#,
            "invalid publish mode: \"x\"",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{}},"RollbackConfig":{"Order":"x"}}"#,
            "unrecognized update order x",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{"Configs":[{"ConfigID":"x"}]}}}"#,
            "either File or Runtime should be set",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{"Privileges":{"CredentialSpec":{}}}}}"#,
            "invalid CredentialSpec",
        ),
        (
            r#"{"TaskTemplate":{"ContainerSpec":{},"Networks":[{"Target":"x"}]}}"#,
            "network x not found",
        ),
    ];
    for (body, message) in table {
        let control = FakeControl::default()
            .answers("ListNetworks", &swarm_proto::v1::ListNetworksResponse::default())
            .refuses("CreateService", Code::Internal, "it must not get here");
        let (status, text) = Api::manager(control).post("/services/create", body).await;
        assert!(status == 400 || status == 404, "{body}: {status} {text}");
        assert!(text.replace('\\', "").contains(message), "{body}: {text}");
    }
}

/// Fields of a wrong type or out of their type's range, for creating and for updating alike.
#[tokio::test]
async fn wrong_types_are_refused_before_anything_else() {
    let within = |field: &str| format!("{{\"TaskTemplate\":{{\"ContainerSpec\":{{{field}}}}}}}");
    let bodies = [
        (r#"{"Name":5}"#.to_owned(), "expected a string"),
        (r#"{"Labels":"x"}"#.to_owned(), "expected a map"),
        (r#"{"Labels":{"a":1}}"#.to_owned(), "expected a string"),
        (r#"{"TaskTemplate":[]}"#.to_owned(), "expected an object"),
        (r#"{"Mode":["x"]}"#.to_owned(), "expected an object"),
        (r#"{"Mode":{"Replicated":{"Replicas":-1}}}"#.to_owned(), "expected u64"),
        (r#"{"Mode":{"Replicated":{"Replicas":1.5}}}"#.to_owned(), "expected u64"),
        (r#"{"Mode":{"Replicated":{"Replicas":"2"}}}"#.to_owned(), "expected u64"),
        (r#"{"UpdateConfig":{"Parallelism":-1}}"#.to_owned(), "expected u64"),
        (r#"{"UpdateConfig":{"Delay":"5s"}}"#.to_owned(), "expected i64"),
        (r#"{"UpdateConfig":{"MaxFailureRatio":"x"}}"#.to_owned(), "expected f32"),
        (r#"{"EndpointSpec":{"Ports":[{"TargetPort":-1}]}}"#.to_owned(), "expected u32"),
        (r#"{"EndpointSpec":{"Ports":{}}}"#.to_owned(), "expected a sequence"),
        (within(r#""Env":"A=1""#), "expected a sequence"),
        (within(r#""Env":[1]"#), "expected a string"),
        (within(r#""TTY":"yes""#), "expected a boolean"),
        (within(r#""Init":1"#), "expected a boolean"),
        (within(r#""StopGracePeriod":"10s""#), "expected i64"),
        (within(r#""Healthcheck":{"Retries":99999999999}"#), "expected i32"),
        (within(r#""Mounts":[{"ReadOnly":"x"}]"#), "expected a boolean"),
        (within(r#""Ulimits":[{"Soft":"x"}]"#), "expected i64"),
        (
            r#"{"TaskTemplate":{"Resources":{"Limits":{"NanoCPUs":0.5}}}}"#.to_owned(),
            "expected i64",
        ),
        (
            r#"{"TaskTemplate":{"Placement":{"Constraints":"node.role==x"}}}"#.to_owned(),
            "expected a sequence",
        ),
        (r#"{"TaskTemplate":{"RestartPolicy":{"MaxAttempts":-1}}}"#.to_owned(), "expected u64"),
        ("[]".to_owned(), "expected an object"),
        ("".to_owned(), ""),
        ("{".to_owned(), "invalid JSON: "),
    ];
    for uri in ["/services/create", "/services/web/update?version=1"] {
        for (body, expect) in &bodies {
            let control = FakeControl::default()
                .refuses("CreateService", Code::Internal, "it must not get here")
                .refuses("UpdateService", Code::Internal, "it must not get here");
            let (status, text) = Api::manager(control).post(uri, body).await;
            assert_eq!(status, 400, "{uri} {body}: {text}");
            assert!(text.contains(expect), "{uri} {body}: {text}");
        }
    }
}

#[tokio::test]
async fn a_body_of_100_mb_is_refused() {
    let body = format!("{{\"Name\":\"{}\"}}", "x".repeat(JSON_BYTES_MAX));
    let (status, text) = Api::alone().post("/services/create", &body).await;
    assert_eq!((status, text.contains("larger than the limit of 64 MiB")), (413, true), "{text}");
}

#[tokio::test]
async fn other_content_types_are_refused() {
    for content_type in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let request = http::Request::post("/swarm/init").header("content-type", content_type);
        let response = Api::alone().send(request.body("{}".into()).expect("request")).await;
        assert_eq!(response.status(), 400, "{content_type}");
    }
}
