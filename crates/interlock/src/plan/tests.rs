//! Tables: what runs, and what is served of it.

use expect_test::{Expect, expect};

use super::*;

fn candidate(name: &str, hostname: &str, labels: &[(&str, &str)], ports: &[&str]) -> Candidate {
    let port = |text: &&str| {
        let (address, ports) = text.rsplit_once(':').expect("address:public/private");
        let (public, private) = ports.split_once('/').expect("public/private");
        Published {
            private: private.parse().expect("a port"),
            address: address.to_owned(),
            public: public.parse().expect("a port"),
        }
    };
    let (hostname, domainname) = hostname.split_once(' ').unwrap_or((hostname, ""));
    Candidate {
        id: format!("{name:0>12}aaaa").replace('/', "0"),
        name: name.to_owned(),
        hostname: hostname.to_owned(),
        domainname: domainname.to_owned(),
        labels: labels
            .iter()
            .map(|(key, value)| (format!("interlock.{key}"), (*value).to_owned()))
            .collect(),
        env: Vec::new(),
        ports: ports.iter().map(port).collect(),
    }
}

fn check(candidates: &[Candidate], expect: Expect) {
    let addresses = Addresses { overriding: None, fallback: "10.0.0.1" };
    let planned = plan(candidates.to_vec(), addresses);
    let mut text = String::new();
    for host in &planned.hosts {
        let servers: Vec<String> = host
            .upstreams
            .iter()
            .map(|upstream| format!("{}={}", upstream.name, upstream.address))
            .collect();
        let by = format!("{}{}", host.domain, host.context_root);
        text.push_str(&format!("{by} -> {}: {}\n", host.name, servers.join(" ")));
    }
    for notice in planned.notices {
        text.push_str(&format!("! {notice}\n"));
    }
    expect.assert_eq(&text);
}

#[test]
fn hosts_are_found_as_ever() {
    let web = &["192.168.33.20:5000/80"][..];
    check(
        &[
            candidate("f1/one", "votingapp.local", &[], web),
            candidate("f2/two", "votingapp local", &[], &["192.168.33.21:5000/80"]),
            candidate("f1/own", "0123456789ab", &[], web),
            candidate("f1/labelled", "x", &[("hostname", "Shop"), ("domain", "example.com")], web),
            candidate("f1/full", "x", &[("hostname", "a.example.com")], web),
            candidate("f1/bare", "x", &[("hostname", "intranet")], web),
            candidate("f1/same", "b.c b.c", &[], web),
            candidate("f1/domain", "x", &[("domain", "z.org")], web),
            candidate(
                "f1/alias",
                "m.n",
                &[("alias_domain.0", "o.p"), ("alias_domain.1", "m.n")],
                web,
            ),
            candidate("f1/only-alias", "x", &[("alias_domain", "q.r")], web),
        ],
        expect![[r#"
            a.example.com -> a_example_com: full=192.168.33.20:5000
            b.c -> b_c: same=192.168.33.20:5000
            intranet -> intranet: bare=192.168.33.20:5000
            m.n -> m_n: alias=192.168.33.20:5000
            o.p -> o_p: alias=192.168.33.20:5000
            q.r -> q_r: only-alias=192.168.33.20:5000
            shop.example.com -> shop_example_com: labelled=192.168.33.20:5000
            votingapp.local -> votingapp_local: one=192.168.33.20:5000 two=192.168.33.21:5000
            x.z.org -> x_z_org: domain=192.168.33.20:5000
        "#]],
    );
}

#[test]
fn ports_are_those_that_are_published() {
    check(
        &[
            candidate("none", "a.x", &[], &[]),
            candidate("first", "b.x", &[], &["1.1.1.1:7/90", "1.1.1.1:8/80"]),
            candidate("chosen", "c.x", &[("port", "90")], &["1.1.1.1:7/90", "1.1.1.1:8/80"]),
            candidate("absent", "d.x", &[("port", "91")], &["1.1.1.1:7/90"]),
            candidate("everywhere", "e.x", &[], &["0.0.0.0:7/80", ":::7/80"]),
            candidate("six", "f.x", &[], &["fd00::1:7/80"]),
            candidate("odd", "g.x", &[], &["1.1.1.1\nx:7/80"]),
        ],
        expect![[r#"
            b.x -> b_x: first=1.1.1.1:8
            c.x -> c_x: chosen=1.1.1.1:7
            e.x -> e_x: everywhere=10.0.0.1:7
            f.x -> f_x: six=[fd00::1]:7
            ! 000000absent (absent): port 91 is not published
            ! 00000000none (none): no ports exposed
            ! 000000000odd (odd): its address "1.1.1.1\nx" is none
        "#]],
    );
}

#[test]
fn whoever_injects_is_left_out_alone() {
    let web = &["1.1.1.1:1/80"][..];
    check(
        &[
            candidate("good", "a.x", &[], web),
            candidate("newline", "a.x", &[("hostname", "a\nbackend evil")], web),
            candidate("option", "a.x", &[("backend_option", "x\n server evil 6.6.6.6:1")], web),
            candidate("container", "a.x\"", &[], web),
            candidate("we ird\n", "a.x", &[], web),
        ],
        expect![[r#"
            a.x -> a_x: good=1.1.1.1:1 00000weird=1.1.1.1:1
            ! 000container (container): hostname "a.x\"" is refused: it is no host name
            ! 00000newline (newline): hostname "a\nbackend evil" is refused: it is no host name
            ! 000000option (option): option "x\n server evil 6.6.6.6:1" is refused: it may be a line of printable characters without quotes, backslash, # and $
        "#]],
    );
}

#[test]
fn names_of_backends_and_servers_are_distinct() {
    let web = &["1.1.1.1:1/80"][..];
    check(
        &[
            candidate("n1/web", "a.b", &[], web),
            candidate("n2/web", "a.b", &[], web),
            candidate("n1/other", "x", &[("hostname", "a_b")], web),
            candidate("n1/path", "x", &[("context_root", "/app")], web),
            candidate("n1/deeper", "x", &[("context_root", "/app/admin/")], web),
        ],
        expect![[r#"
            /app/admin -> ctx_app_admin: deeper=1.1.1.1:1
            /app -> ctx_app: path=1.1.1.1:1
            a.b -> host:a.b: web=1.1.1.1:1 web-000000n20web-1=1.1.1.1:1
            a_b -> host:a_b: other=1.1.1.1:1
        "#]],
    );
}

#[test]
fn conflicts_are_told() {
    let web = &["1.1.1.1:1/80"][..];
    let get = [("health_check", "httpchk GET /a")];
    check(
        &[
            candidate("1", "a.b", &[], web),
            candidate("2", "a.b", &get, web),
            candidate("3", "a.b", &[("health_check", "httpchk GET /b")], web),
        ],
        expect![[r#"
            a.b -> a_b: 1=1.1.1.1:1 2=1.1.1.1:1 3=1.1.1.1:1
            ! conflicting check specified for a.b
        "#]],
    );
}
