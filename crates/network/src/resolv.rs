//! The text of a container's `/etc/resolv.conf`: the host's, with what a container can't use left out and the
//! user's own settings in place.

use std::net::IpAddr;

/// Used where the host has no name server that a container can reach; Docker's choice.
const FALLBACK_SERVERS: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// What `--dns`, `--dns-search` and `--dns-option` say; empty is the host's.
#[derive(Debug, Clone, Default)]
pub struct Overrides<'a> {
    /// Name servers.
    pub servers: &'a [String],
    /// Search domains; a single `.` is none at all.
    pub search: &'a [String],
    /// Options.
    pub options: &'a [String],
}

/// Makes the text from the host's file. On network host, a server on the loopback is of use and stays.
pub fn text(host: &str, overrides: &Overrides<'_>, host_network: bool) -> String {
    let mut servers = chosen(overrides.servers, || nameservers(host, host_network));
    if servers.is_empty() && !host_network {
        servers = FALLBACK_SERVERS.map(str::to_owned).to_vec();
    }
    let mut search = chosen(overrides.search, || last_words(host, &["search", "domain"]));
    if search == ["."] {
        search.clear();
    }
    let options = chosen(overrides.options, || all_words(host, "options"));
    let mut text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    for (keyword, words) in [("search", search), ("options", options)] {
        if !words.is_empty() {
            text.push_str(&format!("{keyword} {}\n", words.join(" ")));
        }
    }
    text
}

fn chosen(own: &[String], host: impl FnOnce() -> Vec<String>) -> Vec<String> {
    if own.is_empty() { host() } else { own.to_vec() }
}

fn nameservers(host: &str, host_network: bool) -> Vec<String> {
    directives(host)
        .filter_map(|(keyword, rest)| {
            (keyword == "nameserver").then_some(rest.split_whitespace().next()?)
        })
        .filter(|server| host_network || reachable_from_a_container(server))
        .map(str::to_owned)
        .collect()
}

/// Neither the host's loopback nor, on a bridge without IPv6, an IPv6 server.
fn reachable_from_a_container(server: &str) -> bool {
    matches!(server.parse(), Ok(IpAddr::V4(address)) if !address.is_loopback())
}

/// Of directives that replace each other, the last counts.
fn last_words(host: &str, keywords: &[&str]) -> Vec<String> {
    directives(host)
        .filter(|(keyword, _)| keywords.contains(keyword))
        .last()
        .map(|(_, rest)| words(rest))
        .unwrap_or_default()
}

fn all_words(host: &str, wanted: &str) -> Vec<String> {
    directives(host)
        .filter(|(keyword, _)| *keyword == wanted)
        .flat_map(|(_, rest)| words(rest))
        .collect()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Keyword and rest of each line that is not empty or a comment.
fn directives(host: &str) -> impl Iterator<Item = (&str, &str)> {
    host.lines()
        .map(|line| line.split(['#', ';']).next().unwrap_or_default().trim())
        .filter_map(|line| line.split_once(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    fn check(host: &str, dns: &[&str], search: &[&str], options: &[&str], expect: &str) {
        let (servers, search, options) = (strings(dns), strings(search), strings(options));
        let overrides = Overrides { servers: &servers, search: &search, options: &options };
        assert_eq!(text(host, &overrides, false), expect, "{host:?}");
    }

    #[test]
    fn on_the_bridge() {
        let host = "# by hand\nnameserver 10.0.0.53 # near\nnameserver 127.0.0.53\nnameserver ::1\n\
                    search a.org b.org\noptions ndots:2\noptions edns0\n";
        check(
            host,
            &[],
            &[],
            &[],
            "nameserver 10.0.0.53\nsearch a.org b.org\noptions ndots:2 edns0\n",
        );
        check(host, &["1.1.1.1"], &["."], &["rotate"], "nameserver 1.1.1.1\noptions rotate\n");
        check(
            host,
            &[],
            &["c.org"],
            &[],
            "nameserver 10.0.0.53\nsearch c.org\noptions ndots:2 edns0\n",
        );
        check("nameserver 127.0.0.53\n", &[], &[], &[], "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
        check("", &[], &[], &[], "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
        check(
            "nameserver 1.1.1.1\nsearch a\ndomain b\n",
            &[],
            &[],
            &[],
            "nameserver 1.1.1.1\nsearch b\n",
        );
    }

    #[test]
    fn on_the_hosts_network() {
        let host = "nameserver 127.0.0.53\nnameserver ::1\n";
        assert_eq!(text(host, &Overrides::default(), true), host);
        assert_eq!(text("", &Overrides::default(), true), "");
    }
}
