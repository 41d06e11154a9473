//! Templates and what Go makes of them.

use swarm_proto::v1::{ContainerSpec, Driver, Mount, mount::VolumeOptions};

use super::*;

fn context() -> Context {
    let labels = [("a", "1"), ("com.example.b", "two")];
    Context {
        service_id: "serviceID".into(),
        service_name: "serviceName".into(),
        service_labels: labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        node_id: "nodeID".into(),
        node_hostname: "mynode".into(),
        os: "linux".into(),
        architecture: "x86_64".into(),
        task_id: "taskID".into(),
        task_name: "serviceName.10.taskID".into(),
        task_slot: "10".into(),
    }
}

#[test]
fn expands() {
    for (template, expect) in [
        ("plain {text}", "plain {text}"),
        ("{{.Service.ID}} {{.Service.Name}}", "serviceID serviceName"),
        ("{{.Node.ID}}-{{ .Node.Hostname }}", "nodeID-mynode"),
        ("{{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}", "linux/x86_64"),
        ("{{.Task.ID}} {{.Task.Name}} {{.Task.Slot}}", "taskID serviceName.10.taskID 10"),
        ("{{index .Service.Labels \"com.example.b\"}}", "two"),
        ("{{index .Service.Labels \"missing\"}}.", "."),
        ("{{.Service.Labels.a}}", "1"),
        ("{{range $k, $v := .Service.Labels}}{{$k}}={{$v}},{{end}}", "a=1,com.example.b=two,"),
        ("{{range .Service.Labels}}{{.}}{{$.Task.Slot}} {{end}}", "110 two10 "),
        ("{{range $v := .Service.Labels}}{{$v}}{{break}}{{end}}", "1"),
        ("{{if eq .Task.Slot \"10\"}}ten{{else}}other{{end}}", "ten"),
        ("{{if eq .Task.Slot \"1\"}}a{{else if eq .Task.Slot \"2\" \"10\"}}b{{else}}c{{end}}", "b"),
        ("{{with .Service.Labels.a}}<{{.}}>{{end}}", "<1>"),
        ("{{$x := .Task.Slot}}{{if true}}{{$x = \"new\"}}{{end}}{{$x}}", "new"),
        ("{{join \"-\" .Service.Name .Task.Slot}}", "serviceName-10"),
        ("{{.Task.Slot | printf \"%05s|%-4s|%q\" \"a\" \"b\"}}", "0000a|b   |\"10\""),
        ("{{printf \"%03d %v\" 7 true}}", "007 true"),
        ("{{printf \"%d\" .Task.Slot}}{{printf \"%s\"}}", "%!d(string=10)%!s(MISSING)"),
        ("{{len .Service.Labels}} {{len (print .Task.Slot \"x\")}}", "2 3"),
        ("{{slice .Node.Hostname 2}} {{slice .Node.Hostname 0 2}}", "node my"),
        ("{{and .Task.Slot \"\"}}|{{or \"\" .Task.Slot}}|{{not .Task.Slot}}", "|10|false"),
        ("{{lt 1 2}} {{ge \"b\" \"a\"}} {{ne .Task.Slot \"10\"}}", "true true false"),
        ("a {{- /* comment */ -}} b", "ab"),
        ("a {{- .Task.Slot -}} b", "a10b"),
        ("{{\"quoted }} \\\"text\\\"\"}}{{`raw`}}", "quoted }} \"text\"raw"),
        ("{{html \"<a>\"}} {{urlquery \"a b&\"}}", "&lt;a&gt; a+b%26"),
        ("{{(index .Service.Labels \"a\")}}", "1"),
        ("{{.Service}}", "{serviceID serviceName map[a:1 com.example.b:two]}"),
    ] {
        assert_eq!(context().expand(template).as_deref(), Ok(expect), "{template}");
    }
}

#[test]
fn refuses_in_gos_words() {
    let service = "struct { ID string; Name string; Labels map[string]string }";
    let at = |place: &str, node: &str| {
        format!("template: expansion:{place}: executing \"expansion\" at <{node}>: ")
    };
    for (template, expect) in [
        (
            "{{.Service.Nope}}",
            format!("{}can't evaluate field Nope in type {service}", at("1:10", ".Service.Nope")),
        ),
        (
            "\nx{{.Nope}}",
            format!("{}can't evaluate field Nope in type *template.Context", at("2:3", ".Nope")),
        ),
        (
            "{{.Task.Slot.X}}",
            format!("{}can't evaluate field X in type string", at("1:7", ".Task.Slot.X")),
        ),
        (
            "{{.Service.Labels.c}}",
            format!("{}map has no entry for key \"c\"", at("1:10", ".Service.Labels.c")),
        ),
        (
            "{{.Service.Labels \"a\"}}",
            format!(
                "{}Labels has arguments but cannot be invoked as function",
                at("1:10", ".Service.Labels")
            ),
        ),
        (
            "{{range .Task.Slot}}{{end}}",
            format!("{}range can't iterate over 10", at("1:13", ".Task.Slot")),
        ),
        ("{{len 1}}", format!("{}error calling len: len of type int", at("1:2", "len"))),
        (
            "{{eq 1 \"a\"}}",
            format!("{}error calling eq: incompatible types for comparison", at("1:2", "eq")),
        ),
        ("{{.Node.Hostname", "template: expansion:1: unclosed action".into()),
        ("{{nope}}", "template: expansion:1: function \"nope\" not defined".into()),
        ("{{$x}}", "template: expansion:1: undefined variable \"$x\"".into()),
        ("{{}}", "template: expansion:1: missing value for command".into()),
        ("{{if}}{{end}}", "template: expansion:1: missing value for if".into()),
        ("{{if .Task}}", "template: expansion:1: unexpected EOF".into()),
        ("x{{end}}", "template: expansion:1: unexpected {{end}}".into()),
        ("{{break}}", "template: expansion:1: {{break}} outside {{range}}".into()),
        ("{{(.Task}}", "template: expansion:1: unclosed left paren".into()),
        ("{{\"a}}", "template: expansion:1: unclosed action".into()),
        ("{{1x}}", "template: expansion:1: bad number syntax: \"1x\"".into()),
        ("{{template \"x\"}}", "template: expansion:1: {{template}} is not supported".into()),
        ("{{.Task.Slot!}}", "template: expansion:1: unexpected \"!\" in command".into()),
        ("{{/* x", "template: expansion:1: unclosed comment".into()),
    ] {
        let error = context().expand(template).expect_err(template).to_string();
        assert_eq!(error, expect, "{template}");
    }
}

#[test]
fn ends_whatever_it_is_given() {
    let labels = (0..400).map(|n| (n.to_string(), "x".repeat(100))).collect();
    let many = Context { service_labels: labels, ..context() };
    let nested = "{{range $.Service.Labels}}".repeat(4) + "x" + &"{{end}}".repeat(4);
    let error = many.expand(&nested).expect_err("too much").to_string();
    assert!(error.contains("expands to too much"), "{error}");
    for deep in [
        "{{if true}}".repeat(10_000) + &"{{end}}".repeat(10_000),
        format!("{{{{{}1{}}}}}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("{{{{if true}}}}{}{{{{end}}}}", "{{else if true}}".repeat(10_000)),
    ] {
        let error = context().expand(&deep).expect_err("too deep").to_string();
        assert!(error.contains("nested too deeply"), "{error}");
    }
}

/// No text makes the parser panic: pieces of templates in many orders.
#[test]
fn survives_nonsense() {
    let pieces = [
        "{{", "}}", "{{-", " -}}", "/*", "*/", "if ", ".A", "$", ":=", "|", "(", ")", "\"", "`",
        "é", "\n", "end", "else", "range ", "1", "-", ".",
    ];
    let mut seed = 7u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..8 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = usize::try_from(seed >> 33).unwrap_or_default() % pieces.len();
            text.push_str(pieces[at]);
        }
        let _ = context().expand(&text);
    }
}

#[test]
fn expands_containers() {
    let mut spec = ContainerSpec {
        env: vec!["A={{.Task.Slot}}".into(), "{{.Not}}=x".into(), "{{.Bare}}".into()],
        hostname: "h-{{.Node.Hostname}}".into(),
        mounts: vec![Mount {
            source: "v-{{.Task.Slot}}".into(),
            target: "/{{.Service.Name}}".into(),
            volume_options: Some(VolumeOptions {
                labels: [("slot".into(), "{{.Task.Slot}}".into())].into(),
                driver_config: Some(Driver {
                    options: [("o".into(), "{{.Node.ID}}".into())].into(),
                    ..Driver::default()
                }),
                ..VolumeOptions::default()
            }),
            ..Mount::default()
        }],
        ..ContainerSpec::default()
    };
    expand_container(&mut spec, &context()).expect("expanded");
    assert_eq!(spec.env, ["A=10", "{{.Not}}=x", "{{.Bare}}"]);
    assert_eq!(spec.hostname, "h-mynode");
    let mount = &spec.mounts[0];
    assert_eq!((mount.source.as_str(), mount.target.as_str()), ("v-10", "/serviceName"));
    let options = mount.volume_options.as_ref().expect("options");
    assert_eq!(options.labels["slot"], "10");
    assert_eq!(options.driver_config.as_ref().expect("a driver").options["o"], "nodeID");
    for (spec, expect) in [
        (
            ContainerSpec { env: vec!["A={{nope}}".into()], ..ContainerSpec::default() },
            "expanding env failed: expanding env \"A={{nope}}\": template: expansion:1: function \"nope\" not defined",
        ),
        (
            ContainerSpec { hostname: "{{".into(), ..ContainerSpec::default() },
            "expanding hostname failed: template: expansion:1: unclosed action",
        ),
        (
            ContainerSpec {
                mounts: vec![Mount { source: "{{nope}}".into(), ..Mount::default() }],
                ..ContainerSpec::default()
            },
            "expanding mounts failed: expanding mount source \"{{nope}}\": template: expansion:1: function \"nope\" not defined",
        ),
    ] {
        let error = expand_container(&mut spec.clone(), &context()).expect_err("refused");
        assert_eq!(error.to_string(), expect);
    }
}
