//! Logs of services and tasks, wherever their containers run: a subscription to the manager's log broker.

use futures::{Stream, StreamExt, future, stream};
use swarm_proto::timestamp::{from_duration, to_system_time};
use swarm_proto::v1;

use crate::engine_backend::{LogLine, LogSource};
use crate::error::ApiError;
use crate::http::logs::time_param;
use crate::http::params::Params;
use crate::state::ApiState;

/// Reads the parameters of a log request. A missing tail means everything; SwarmKit counts it from the end with
/// negative numbers, one off, so that -1 is nothing and 0 everything.
pub(crate) fn read_cluster_logs(params: &Params) -> Result<v1::LogSubscriptionOptions, ApiError> {
    let mut streams: Vec<i32> = Vec::new();
    if params.flag("stdout") {
        streams.push(v1::LogStream::Stdout.into());
    }
    if params.flag("stderr") {
        streams.push(v1::LogStream::Stderr.into());
    }
    if streams.is_empty() {
        return Err(ApiError::invalid("must specify at least one of 'stdout' or 'stderr'"));
    }
    let tail = match params.get("tail") {
        "" | "all" => 0,
        text => match text.parse::<i64>() {
            Ok(lines) if lines >= 0 => -lines.saturating_add(1),
            Ok(_) => return Err(ApiError::invalid("negative tail values not supported")),
            Err(_) => {
                return Err(ApiError::invalid("tail value must be a positive integer or \"all\""));
            }
        },
    };
    let since = time_param(params, "since")?.map(|nanos| {
        let since = from_duration(std::time::Duration::from_nanos(nanos));
        prost_types::Timestamp { seconds: since.seconds, nanos: since.nanos }
    });
    Ok(v1::LogSubscriptionOptions { streams, follow: params.flag("follow"), tail, since })
}

/// Subscribes; the lines arrive in the order in which the broker passes them on.
pub(crate) async fn cluster_logs(
    state: &ApiState,
    selector: v1::LogSelector,
    options: v1::LogSubscriptionOptions,
) -> Result<impl Stream<Item = Result<LogLine, ApiError>> + Send + 'static, ApiError> {
    let request = v1::SubscribeLogsRequest { selector: Some(selector), options: Some(options) };
    let messages = state.logs()?.subscribe_logs(request).await?.into_inner();
    let batches = messages.map(|batch| match batch {
        Ok(batch) => batch.messages.into_iter().map(|message| Ok(log_line(message))).collect(),
        Err(status) => vec![Err(ApiError::from(status))],
    });
    // The first error is the last item.
    let ended = batches.flat_map(stream::iter).scan(false, |failed, line| {
        let over = std::mem::replace(failed, *failed || line.is_err());
        future::ready((!over).then_some(line))
    });
    Ok(ended)
}

fn log_line(message: v1::LogMessage) -> LogLine {
    const NODE: &str = "com.docker.swarm.node.id";
    const SERVICE: &str = "com.docker.swarm.service.id";
    const TASK: &str = "com.docker.swarm.task.id";
    let source = match message.stream() {
        v1::LogStream::Stderr => LogSource::Stderr,
        _ => LogSource::Stdout,
    };
    let context = message.context.unwrap_or_default();
    let mut attributes: Vec<(String, String)> = message
        .attrs
        .into_iter()
        .filter(|attr| ![NODE, SERVICE, TASK].contains(&attr.key.as_str()))
        .map(|attr| (attr.key, attr.value))
        .collect();
    attributes.push((NODE.to_owned(), context.node_id));
    attributes.push((SERVICE.to_owned(), context.service_id));
    attributes.push((TASK.to_owned(), context.task_id));
    let time = message.timestamp.as_ref().map(to_system_time);
    let since_1970 =
        time.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok()).unwrap_or_default();
    LogLine {
        source,
        time_nanos: u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX),
        data: message.data.into(),
        attributes,
    }
}
