//! `docker ps`: summaries of containers, with the API's filters.

use std::collections::HashMap;
use std::time::Duration;

use bollard_stubs::models::{
    ContainerSummary, ContainerSummaryHostConfig, ContainerSummaryNetworkSettings,
    ContainerSummaryStateEnum, PortSummary, PortSummaryTypeEnum,
};
use swarm_network::Protocol;

use super::inspect::{endpoint, folder_size};
use super::network::parse_port;
use super::{Container, Record, Status};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::image::filter::{self, Filters};
use crate::timestamp;

const FILTERS: [&str; 13] = [
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "name",
    "network", "publish", "since", "status",
];
const LIST_FILTERS_TOO: [&str; 1] = ["volume"];
const PRUNE_FILTERS: [&str; 3] = ["label", "label!", "until"];
const STATUSES: [&str; 7] =
    ["created", "restarting", "running", "removing", "paused", "exited", "dead"];

/// Which containers to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Those that do not run as well.
    pub all: bool,
    /// At most so many, newest first.
    pub limit: Option<usize>,
    /// With the size of their own layer.
    pub size: bool,
    /// The API's filters.
    pub filters: Filters,
}

impl Engine {
    /// Lists containers, newest first.
    pub fn list(&self, options: &ListOptions) -> Result<Vec<ContainerSummary>> {
        options.check()?;
        let mut containers: Vec<_> =
            self.containers().into_iter().map(|c| (c.record(), c)).collect();
        let created = |record: &Record| timestamp::parse(&record.created).unwrap_or(0);
        containers.sort_by_key(|(record, _)| std::cmp::Reverse(created(record)));
        let bound = |key: &str| -> Result<Option<u64>> {
            let named = filter::values(&options.filters, key).first();
            named.map(|name| self.container(name).map(|c| c.read(created))).transpose()
        };
        let (before, since) = (bound("before")?, bound("since")?);
        let ancestors = self.ancestors(options);
        let chosen = containers.into_iter().filter(|(record, _)| {
            let time = created(record);
            before.is_none_or(|before| time < before)
                && since.is_none_or(|since| time > since)
                && options.passes(record)
                && ancestors.as_ref().is_none_or(|ids| ids.contains(&record.image_id))
        });
        let limit = options.limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        Ok(chosen.take(limit).map(|(r, c)| summary(&r, &c, options.size)).collect())
    }

    /// IDs of the images that the `ancestor` filter names; unknown ones match nothing.
    fn ancestors(&self, options: &ListOptions) -> Option<Vec<String>> {
        let names = filter::values(&options.filters, "ancestor");
        let id = |name: &String| {
            self.inner.images.resolve(name).ok().map(|image| image.id.as_str().to_owned())
        };
        (!names.is_empty()).then(|| names.iter().filter_map(id).collect())
    }
}

impl ListOptions {
    fn check(&self) -> Result<()> {
        filter::check_keys(&self.filters, &[&FILTERS[..], &LIST_FILTERS_TOO].concat())?;
        for status in filter::values(&self.filters, "status") {
            if !STATUSES.contains(&status.as_str()) {
                return Err(Error::invalid(format!("invalid filter 'status={status}'")));
            }
        }
        for code in filter::values(&self.filters, "exited") {
            if code.parse::<i32>().is_err() {
                return Err(Error::invalid(format!("invalid filter 'exited={code}'")));
            }
        }
        Ok(())
    }

    fn passes(&self, record: &Record) -> bool {
        let values = |key: &str| filter::values(&self.filters, key);
        let any = |key: &str, test: &dyn Fn(&str) -> bool| {
            values(key).is_empty() || values(key).iter().any(|value| test(value))
        };
        let running = matches!(record.state.status, Status::Running | Status::Restarting);
        let shown = running
            || self.all
            || self.limit.is_some_and(|limit| limit > 0)
            || ["status", "exited", "before", "since"].iter().any(|key| !values(key).is_empty());
        let labels = record.config.labels.as_ref();
        let has_label = |wanted: &String| labels.is_some_and(|l| filter::has_label(l, wanted));
        shown
            && any("id", &|id| record.id.as_str().starts_with(id))
            && any("name", &|name| name_matches(&record.name, name))
            && any("status", &|status| record.state.status.as_str() == status)
            && any("exited", &|code| {
                let ended = record.state.status == Status::Exited && record.state.finished_at > 0;
                ended && code.parse() == Ok(record.state.exit_code)
            })
            && any("health", &|health| {
                health == record.health_status().map_or("none", |status| status.as_str())
            })
            && any("network", &|network| record.host.network_mode.as_deref() == Some(network))
            && any("is-task", &|wanted| {
                let is_task = has_label(&"com.docker.swarm.task.id".to_owned());
                matches!(wanted, "1" | "true") == is_task
            })
            && any("volume", &|volume| {
                let names = |m: &bollard_stubs::models::MountPoint| {
                    m.name.as_deref() == Some(volume) || m.destination.as_deref() == Some(volume)
                };
                record.mounts.iter().any(names)
            })
            && any("expose", &|port| exposes(record, port))
            && any("publish", &|port| publishes(record, port))
            && values("label").iter().all(has_label)
    }

    /// Whether `docker container prune` with these filters may remove it.
    pub(crate) fn passes_prune(&self, record: &Record) -> Result<bool> {
        filter::check_keys(&self.filters, &PRUNE_FILTERS)?;
        let values = |key| filter::values(&self.filters, key);
        let created = timestamp::parse(&record.created).unwrap_or(0);
        for until in values("until") {
            if created > filter::until(until)? {
                return Ok(false);
            }
        }
        let labels = record.config.labels.clone().unwrap_or_default();
        Ok(values("label").iter().all(|wanted| filter::has_label(&labels, wanted))
            && !values("label!").iter().any(|wanted| filter::has_label(&labels, wanted)))
    }
}

/// Docker matches a regular expression anywhere in the name, with or without its slash; here its anchors are known.
fn name_matches(name: &str, wanted: &str) -> bool {
    let start = wanted.starts_with('^');
    let end = wanted.ends_with('$');
    let core = wanted.trim_start_matches('^').trim_end_matches('$').trim_start_matches('/');
    match (start, end) {
        (true, true) => name == core,
        (true, false) => name.starts_with(core),
        (false, true) => name.ends_with(core),
        (false, false) => name.contains(core),
    }
}

fn exposes(record: &Record, port: &str) -> bool {
    let wanted = parse_port(port).ok();
    let exposed = record.config.exposed_ports.iter().flatten();
    wanted.is_some() && exposed.filter_map(|port| parse_port(port).ok()).any(|p| Some(p) == wanted)
}

fn publishes(record: &Record, port: &str) -> bool {
    let wanted = parse_port(port).ok();
    let mappings = record.attachment.iter().flat_map(|attachment| &attachment.ports);
    mappings.into_iter().any(|m| Some((m.container_port, m.protocol)) == wanted)
}

fn summary(record: &Record, container: &Container, size: bool) -> ContainerSummary {
    let mode = record.host.network_mode.clone().unwrap_or_default();
    let endpoint = endpoint(record.attachment.as_ref());
    let size = size.then(|| i64::try_from(folder_size(&container.overlay.upper())).unwrap_or(0));
    ContainerSummary {
        id: Some(record.id.to_string()),
        names: Some(vec![format!("/{}", record.name)]),
        image: Some(record.image.clone()),
        image_id: Some(record.image_id.clone()),
        command: Some(record.args().join(" ")),
        created: timestamp::parse(&record.created)
            .and_then(|nanos| i64::try_from(nanos / 1_000_000_000).ok()),
        ports: Some(ports(record)),
        size_rw: size,
        labels: Some(record.config.labels.clone().unwrap_or_default()),
        state: Some(match record.state.status {
            Status::Created => ContainerSummaryStateEnum::CREATED,
            Status::Running => ContainerSummaryStateEnum::RUNNING,
            Status::Restarting => ContainerSummaryStateEnum::RESTARTING,
            Status::Exited => ContainerSummaryStateEnum::EXITED,
            Status::Removing => ContainerSummaryStateEnum::REMOVING,
        }),
        status: Some(status_text(record, timestamp::now_nanos())),
        host_config: Some(ContainerSummaryHostConfig {
            network_mode: Some(mode.clone()),
            annotations: None,
        }),
        network_settings: Some(ContainerSummaryNetworkSettings {
            networks: Some(HashMap::from([(mode, endpoint)])),
        }),
        mounts: Some(record.mounts.clone()),
        ..ContainerSummary::default()
    }
}

fn ports(record: &Record) -> Vec<PortSummary> {
    let mut all = Vec::new();
    let mappings = record.attachment.iter().flat_map(|attachment| &attachment.ports);
    for mapping in mappings {
        all.push(PortSummary {
            ip: Some(mapping.host_ip.to_string()),
            private_port: mapping.container_port,
            public_port: Some(mapping.host_port),
            typ: Some(port_type(mapping.protocol)),
        });
    }
    for port in record.config.exposed_ports.iter().flatten().filter(|_| record.is_running()) {
        let Ok((number, protocol)) = parse_port(port) else { continue };
        let typ = Some(port_type(protocol));
        if !all.iter().any(|p| p.private_port == number && p.typ == typ) {
            all.push(PortSummary { ip: None, private_port: number, public_port: None, typ });
        }
    }
    all
}

fn port_type(protocol: Protocol) -> PortSummaryTypeEnum {
    match protocol {
        Protocol::Tcp => PortSummaryTypeEnum::TCP,
        Protocol::Udp => PortSummaryTypeEnum::UDP,
        Protocol::Sctp => PortSummaryTypeEnum::SCTP,
    }
}

/// The STATUS column.
fn status_text(record: &Record, now: u64) -> String {
    let state = &record.state;
    let ago = |then: u64| human_duration(Duration::from_nanos(now.saturating_sub(then)));
    match state.status {
        Status::Running => {
            let health = record.health_status().map(|health| format!(" ({})", health.in_status()));
            format!("Up {}{}", ago(state.started_at), health.unwrap_or_default())
        }
        Status::Restarting => {
            format!("Restarting ({}) {} ago", state.exit_code, ago(state.finished_at))
        }
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, ago(state.finished_at)),
        Status::Created => "Created".to_owned(),
        Status::Removing => "Removal In Progress".to_owned(),
    }
}

/// A duration as Docker's units say it (docker/go-units' `HumanDuration`).
pub fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_durations_as_docker_does() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (150, "2 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (3 * 24 * 3600, "3 days"),
            (15 * 24 * 3600, "2 weeks"),
        ] {
            assert_eq!(human_duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn matches_names() {
        for (wanted, hit) in [
            ("web", true),
            ("^/web$", false),
            ("^web", true),
            ("1$", true),
            ("/web", true),
            ("x", false),
        ] {
            assert_eq!(name_matches("web.1", wanted), hit, "{wanted}");
        }
    }
}
