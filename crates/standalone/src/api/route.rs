//! Which endpoint a request means. Names may have slashes in them: `/containers/node-1/web/json`.
//!
//! Mirrors the routes of docker/swarm's `api/primary.go`.

use http::Method;

/// An endpoint, with the name in its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route<'p> {
    Ping,
    Version,
    Info,
    Events,
    ContainerList,
    ContainerCreate,
    ContainerInspect(&'p str),
    ContainerRemove(&'p str),
    ContainerRename(&'p str),
    ExecCreate(&'p str),
    /// Passed on to the container's engine; what comes after the name, and whether it changes the container.
    ContainerPass {
        name: &'p str,
        verb: &'p str,
        is_change: bool,
    },
    /// Passed on to the engine on which the command runs.
    ExecPass {
        id: &'p str,
        verb: &'p str,
    },
    ImageList,
    ImageCreate,
    ImageLoad,
    /// Several images in one archive.
    ImageSave,
    ImageRemove(&'p str),
    ImageTag(&'p str),
    /// Passed on to an engine that has the image.
    ImagePass {
        name: &'p str,
        verb: &'p str,
    },
    NetworkList,
    NetworkCreate,
    NetworkInspect(&'p str),
    NetworkRemove(&'p str),
    /// Passed on to the engine of the container in the body.
    NetworkPass {
        name: &'p str,
        verb: &'p str,
    },
    VolumeList,
    VolumeCreate,
    VolumeInspect(&'p str),
    VolumeRemove(&'p str),
    Commit,
    Build,
    BuildCancel,
    /// What a builder and its client say to each other beside the build.
    Session,
    /// Served by any engine as well as by any other.
    Any,
    /// Makes no sense for several engines.
    NotHere,
}

/// What is asked of a container and changes it.
const CHANGES: [&str; 8] =
    ["start", "stop", "kill", "pause", "unpause", "restart", "update", "wait"];
/// What is asked of it beside.
const POSTS: [&str; 3] = ["resize", "attach", "copy"];
const GETS: [&str; 7] = ["archive", "export", "changes", "top", "logs", "stats", "attach/ws"];

/// The path without its version: `/v1.40/info` is `/info`.
pub(crate) fn without_version(path: &str) -> &str {
    let Some((first, _)) = path.strip_prefix("/v").and_then(|rest| rest.split_once('/')) else {
        return path;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_version =
        first.split_once('.').is_some_and(|(major, minor)| is_number(major) && is_number(minor));
    if is_version { &path[first.len() + 2..] } else { path }
}

/// The endpoint of a request; none where there is no such.
pub(crate) fn route<'p>(method: &Method, path: &'p str) -> Option<Route<'p>> {
    let path = without_version(path);
    let fixed = match (method.as_str(), path) {
        ("GET" | "HEAD", "/_ping") => Route::Ping,
        ("GET", "/version") => Route::Version,
        ("GET", "/info") => Route::Info,
        ("GET", "/events") => Route::Events,
        ("GET", "/containers/json" | "/containers/ps") => Route::ContainerList,
        ("POST", "/containers/create") => Route::ContainerCreate,
        ("GET", "/images/json") => Route::ImageList,
        ("GET", "/images/search") | ("POST", "/auth") => Route::Any,
        ("GET", "/images/viz") => Route::NotHere,
        ("POST", "/images/create") => Route::ImageCreate,
        ("POST", "/images/load") => Route::ImageLoad,
        ("GET", "/images/get") => Route::ImageSave,
        ("POST", "/commit") => Route::Commit,
        ("POST", "/build") => Route::Build,
        ("POST", "/build/cancel") => Route::BuildCancel,
        ("POST", "/session") => Route::Session,
        ("GET", "/networks") => Route::NetworkList,
        ("POST", "/networks/create") => Route::NetworkCreate,
        ("GET", "/volumes") => Route::VolumeList,
        ("POST", "/volumes/create") => Route::VolumeCreate,
        _ => return named(method, path),
    };
    Some(fixed)
}

fn named<'p>(method: &Method, path: &'p str) -> Option<Route<'p>> {
    let (collection, rest) = path.strip_prefix('/')?.split_once('/')?;
    if rest.is_empty() {
        return None;
    }
    match collection {
        "containers" => container(method, rest),
        "exec" => {
            let (id, verb) = rest.split_once('/')?;
            let known = [("GET", "json"), ("POST", "start"), ("POST", "resize")];
            known.contains(&(method.as_str(), verb)).then_some(Route::ExecPass { id, verb })
        }
        "images" => image(method, rest),
        "networks" => match (method.as_str(), rest.rsplit_once('/')) {
            ("POST", Some((name, verb @ ("connect" | "disconnect")))) => {
                Some(Route::NetworkPass { name, verb })
            }
            ("GET", _) => Some(Route::NetworkInspect(rest)),
            ("DELETE", _) => Some(Route::NetworkRemove(rest)),
            _ => None,
        },
        "volumes" => match method.as_str() {
            "GET" => Some(Route::VolumeInspect(rest)),
            "DELETE" => Some(Route::VolumeRemove(rest)),
            _ => None,
        },
        _ => None,
    }
}

fn container<'p>(method: &Method, rest: &'p str) -> Option<Route<'p>> {
    if method == Method::DELETE {
        return Some(Route::ContainerRemove(rest));
    }
    // The one verb that has two parts.
    let (name, verb) = match rest.strip_suffix("/attach/ws") {
        Some(name) => (name, "attach/ws"),
        None => rest.rsplit_once('/')?,
    };
    match (method.as_str(), verb) {
        ("GET", "json") => Some(Route::ContainerInspect(name)),
        ("POST", "rename") => Some(Route::ContainerRename(name)),
        ("POST", "exec") => Some(Route::ExecCreate(name)),
        ("POST", _) if CHANGES.contains(&verb) => {
            Some(Route::ContainerPass { name, verb, is_change: true })
        }
        ("POST", _) if POSTS.contains(&verb) => {
            Some(Route::ContainerPass { name, verb, is_change: false })
        }
        ("GET", _) if GETS.contains(&verb) => {
            Some(Route::ContainerPass { name, verb, is_change: false })
        }
        ("HEAD" | "PUT", "archive") => Some(Route::ContainerPass { name, verb, is_change: false }),
        _ => None,
    }
}

fn image<'p>(method: &Method, rest: &'p str) -> Option<Route<'p>> {
    if method == Method::DELETE {
        return Some(Route::ImageRemove(rest));
    }
    let (name, verb) = rest.rsplit_once('/')?;
    match (method.as_str(), verb) {
        ("GET", "json" | "history" | "get") | ("POST", "push") => {
            Some(Route::ImagePass { name, verb })
        }
        ("POST", "tag") => Some(Route::ImageTag(name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_mean_endpoints() {
        let pass = |name, verb, is_change| Some(Route::ContainerPass { name, verb, is_change });
        for (method, path, expect) in [
            ("GET", "/_ping", Some(Route::Ping)),
            ("GET", "/v1.40/info", Some(Route::Info)),
            ("POST", "/v1.24/containers/create", Some(Route::ContainerCreate)),
            ("GET", "/containers/web/json", Some(Route::ContainerInspect("web"))),
            (
                "GET",
                "/v1.40/containers/node-1/web/json",
                Some(Route::ContainerInspect("node-1/web")),
            ),
            ("DELETE", "/containers/node-1/web", Some(Route::ContainerRemove("node-1/web"))),
            ("POST", "/containers/v1.40/start", pass("v1.40", "start", true)),
            ("GET", "/containers/n/web/logs", pass("n/web", "logs", false)),
            ("GET", "/containers/web/attach/ws", pass("web", "attach/ws", false)),
            ("PUT", "/containers/web/archive", pass("web", "archive", false)),
            ("POST", "/exec/0a/start", Some(Route::ExecPass { id: "0a", verb: "start" })),
            (
                "GET",
                "/images/localhost:5000/a/b:1/json",
                Some(Route::ImagePass { name: "localhost:5000/a/b:1", verb: "json" }),
            ),
            ("DELETE", "/images/a/b", Some(Route::ImageRemove("a/b"))),
            ("GET", "/networks/node-0/bridge", Some(Route::NetworkInspect("node-0/bridge"))),
            (
                "POST",
                "/networks/n/connect",
                Some(Route::NetworkPass { name: "n", verb: "connect" }),
            ),
            ("DELETE", "/volumes/node-0/v", Some(Route::VolumeRemove("node-0/v"))),
            ("POST", "/v1.40/build", Some(Route::Build)),
            ("GET", "/images/get", Some(Route::ImageSave)),
            ("GET", "/images/a/get", Some(Route::ImagePass { name: "a", verb: "get" })),
            ("POST", "/info", None),
            ("GET", "/containers/web", None),
            ("GET", "/vx.y/info", None),
            ("GET", "/", None),
            ("POST", "/swarm/init", None),
        ] {
            let method: Method = method.parse().expect("a method");
            assert_eq!(route(&method, path), expect, "{method} {path}");
        }
    }
}
