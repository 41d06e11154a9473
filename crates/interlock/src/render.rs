//! Pure: from what is to be served to HAProxy's configuration, by a template; and back from a line to its backend.

use std::collections::BTreeSet;
use std::path::Path;

use minijinja::{Environment, UndefinedBehavior, context};
use thiserror::Error;

use crate::plan::Host;
use crate::settings::Settings;

/// The template that is used where none is given.
const BUILT_IN: &str = include_str!("haproxy.cfg.j2");
/// Steps that a template may take: some for each of tens of thousands of servers. More is a loop without end.
const STEPS_MAX: u64 = 5_000_000;

/// A template that makes no configuration.
#[derive(Debug, Error)]
#[error("wrong template: {0:#}")]
pub(crate) struct TemplateError(#[from] minijinja::Error);

/// HAProxy's configuration, by a user's template or the built-in one.
///
/// # Errors
/// [`TemplateError`], with the line.
pub(crate) fn render(
    template: Option<&str>,
    settings: &Settings,
    socket: &Path,
    hosts: &[Host],
) -> Result<String, TemplateError> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(STEPS_MAX));
    // A name that was mistyped is an error, not an empty text.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_keep_trailing_newline(true);
    let socket = socket.display().to_string();
    let template = template.unwrap_or(BUILT_IN);
    Ok(environment.render_str(template, context! { config => settings, socket, hosts })?)
}

/// The backends that lines of a configuration, counted from 1, belong to.
pub(crate) fn backends_of(text: &str, lines: &BTreeSet<usize>) -> BTreeSet<String> {
    let mut current: Option<&str> = None;
    let mut found = BTreeSet::new();
    for (number, line) in (1..).zip(text.lines()) {
        let starts_section = line.starts_with(|c: char| c.is_ascii_alphabetic());
        if starts_section {
            current = line.strip_prefix("backend ").map(str::trim);
        }
        let named = line.trim_start().strip_prefix("use_backend ");
        let named = named.and_then(|rest| rest.split_whitespace().next());
        if lines.contains(&number) {
            found.extend(current.or(named).map(str::to_owned));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::plan::Upstream;

    fn hosts() -> Vec<Host> {
        let upstream = |name: &str, address: &str| Upstream {
            name: name.into(),
            address: address.into(),
            check_interval_ms: 5000,
            ssl: false,
            ssl_verify: "none".into(),
        };
        let upstreams = vec![upstream("w1", "10.0.0.1:5000"), upstream("w2", "10.0.0.2:5000")];
        let app = Host {
            name: "ctx_app".into(),
            context_root: "/app".into(),
            context_root_rewrite: true,
            backend_options: vec!["http-no-delay".into()],
            balance_algorithm: "leastconn".into(),
            ssl_only: true,
            upstreams: vec![Upstream {
                ssl: true,
                ssl_verify: "required".into(),
                check_interval_ms: 1000,
                ..upstream("s", "10.0.0.3:443")
            }],
            ..Host::default()
        };
        let voting = Host {
            name: "votingapp_local".into(),
            domain: "votingapp.local".into(),
            check: "httpchk GET /".into(),
            upstreams,
            ..Host::default()
        };
        vec![app, voting]
    }

    fn settings() -> Settings {
        Settings::read(|_| None).expect("settings")
    }

    fn built_in() -> String {
        render(None, &settings(), Path::new("/run/s"), &hosts()).expect("rendered")
    }

    #[test]
    fn the_built_in_template() {
        expect![[r#"
            # managed by interlock
            global
                maxconn 2048
                stats socket /run/s mode 600 level admin expose-fd listeners

            defaults
                mode http
                retries 3
                option redispatch
                option dontlognull
                option http-server-close
                option forwardfor
                option idle-close-on-response
                timeout connect 5000
                timeout client 10000
                timeout server 10000

            frontend http-default
                bind *:80
                bind *:8080
                monitor-uri /haproxy?monitor
                stats enable
                stats realm Stats
                stats auth stats:interlock
                stats uri /haproxy?stats
                stats refresh 5s
                use_backend ctx_app if { path -m str /app } or { path -m beg /app/ }
                use_backend votingapp_local if { req.hdr(host),field(1,:),lower -m str votingapp.local }

            backend ctx_app
                http-response add-header X-Request-Start %Ts.%ms
                balance leastconn
                option http-no-delay
                redirect scheme https code 301 if !{ ssl_fc }
                http-request replace-path ^/app/?(.*) /\1
                server s 10.0.0.3:443 check inter 1000 ssl verify required ca-file @system-ca sni req.hdr(host)

            backend votingapp_local
                http-response add-header X-Request-Start %Ts.%ms
                balance roundrobin
                option httpchk GET /
                server w1 10.0.0.1:5000 check inter 5000
                server w2 10.0.0.2:5000 check inter 5000

        "#]]
        .assert_eq(&built_in());
    }

    #[test]
    fn templates_of_users() {
        let render = |template| {
            render(Some(template), &settings(), Path::new("/run/s"), &hosts())
                .map_err(|error| error.to_string())
        };
        let template = "{{ socket }} {% for host in hosts %}{{ host.domain }},{% endfor %}";
        assert_eq!(render(template), Ok("/run/s ,votingapp.local,".to_owned()));
        for (template, expect) in [
            ("{% for host in hosts %}", "wrong template: syntax error: "),
            ("{{ config.prot }}", "wrong template: undefined value"),
            (
                "{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}",
                "wrong template: engine ran out of fuel",
            ),
        ] {
            let error = render(template).expect_err(template);
            assert!(error.starts_with(expect), "{error}");
        }
    }

    #[test]
    fn lines_have_backends() {
        let text = built_in();
        let line = |start: &str| {
            1 + text.lines().position(|line| line.trim().starts_with(start)).expect(start)
        };
        for (start, expect) in [
            ("option http-no-delay", "ctx_app"),
            ("server w2", "votingapp_local"),
            ("use_backend votingapp_local", "votingapp_local"),
            ("timeout client", ""),
        ] {
            let found = backends_of(&text, &BTreeSet::from([line(start)]));
            assert_eq!(found.into_iter().next().unwrap_or_default(), expect);
        }
    }
}
