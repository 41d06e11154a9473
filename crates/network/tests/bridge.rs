//! The bridge against a real kernel: in a network namespace of its own, with a client's namespace beside it.
//!
//! The test runs itself again inside `unshare --net --mount`, so that it can't touch the machine's own network.

#![expect(
    clippy::print_stdout,
    reason = "a test says why it was skipped and how long an attach took"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use swarm_network::netlink::{Netlink, VethPair};
use swarm_network::{
    AttachRequest, Attachment, Bridge, BridgeConfig, HostPort, MacAddress, PortRequest, Protocol,
    netns, nft,
};

const INSIDE: &str = "SWARM_NETWORK_TEST_INSIDE";
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// A namespace as a container's, with servers in it.
struct Place {
    path: PathBuf,
}

impl Place {
    fn new(folder: &Path, name: &str) -> Self {
        let path = folder.join(name);
        netns::create(&path).expect("create a namespace");
        Self { path }
    }

    /// Answers each connection with the address that it came from.
    fn serve(&self, port: u16) {
        let listener =
            netns::run_in(&self.path, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
                .expect("enter")
                .expect("listen");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { break };
                if let Ok(peer) = stream.peer_addr() {
                    let _ = write!(stream, "{}", peer.ip());
                }
            }
        });
    }

    /// Sends each packet back.
    fn echo_udp(&self, port: u16) {
        let socket = netns::run_in(&self.path, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))
            .expect("enter")
            .expect("bind");
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..length], peer);
            }
        });
    }

    fn ask(&self, address: impl Into<SocketAddrV4>) -> Result<String, std::io::Error> {
        let address = address.into();
        netns::run_in(&self.path, || ask(address)).expect("enter")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        netns::remove(&self.path).expect("remove a namespace");
    }
}

fn ask(address: SocketAddrV4) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::V4(address), Duration::from_secs(1))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn ping_udp(address: SocketAddrV4) -> std::io::Result<String> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    socket.connect(address)?;
    socket.send(b"ping")?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// The host's link to a client outside, 10.99.0.1 to 10.99.0.2.
fn add_client(folder: &Path) -> Place {
    let client = Place::new(folder, "client");
    let mut netlink = Netlink::open().expect("netlink");
    netlink.link_up(1).expect("loopback");
    // A server's socket keeps the namespace of an earlier client, and so its link.
    netlink.delete_link("client0").expect("delete");
    netlink.add_bridge("outside0", MacAddress::from_ipv4(HOST), 1500).expect("a bridge");
    let bridge = netlink.link_by_name("outside0").expect("netlink").expect("the bridge");
    netlink
        .add_address(bridge.header.index, "10.99.0.1/24".parse().expect("a net"))
        .expect("an address");
    let namespace = std::fs::File::open(&client.path).expect("a namespace");
    netlink
        .add_veth(&VethPair {
            name: "client0",
            bridge_index: bridge.header.index,
            peer_name: "eth0",
            peer_mac: MacAddress::from_ipv4(CLIENT),
            peer_netns: namespace.as_raw_fd(),
            mtu: 1500,
        })
        .expect("a link");
    netns::run_in(&client.path, || {
        let mut netlink = Netlink::open().expect("netlink");
        let link = netlink.link_by_name("eth0").expect("netlink").expect("eth0");
        netlink.link_up(link.header.index).expect("up");
        netlink
            .add_address(link.header.index, "10.99.0.2/24".parse().expect("a net"))
            .expect("an address");
        // A way to the containers' subnet, so that only rules keep the client out of it.
        netlink.add_default_route(HOST).expect("a route");
    })
    .expect("enter");
    client
}

fn publish(host_port: HostPort) -> Vec<PortRequest> {
    vec![PortRequest { container_port: 80, protocol: Protocol::Tcp, host_ip: None, host_port }]
}

async fn attach(bridge: &Bridge, place: &Place, id: &str, ports: Vec<PortRequest>) -> Attachment {
    let request = AttachRequest {
        container_id: id.into(),
        name: format!("name-{id}"),
        netns: place.path.clone(),
        ports,
        ..AttachRequest::default()
    };
    bridge.attach(request).await.expect("attach")
}

#[test]
fn bridge_in_a_namespace() {
    match std::env::var(INSIDE).as_deref() {
        Ok("with nft") => in_runtime(async {
            containers_talk().await;
            ports_are_published().await;
            a_restart_changes_nothing().await;
            refusals_leave_nothing().await;
            closed_bridge().await;
            a_dropping_firewall_is_passed().await;
        }),
        Ok(_) => in_runtime(without_nft()),
        Err(_) if !nix::unistd::geteuid().is_root() => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "must run as root in CI");
            println!("skipped: needs root to make network namespaces");
        }
        Err(_) => {
            run_inside("with nft", None);
            run_inside("without nft", Some("/nowhere"));
        }
    }
}

fn in_runtime(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(test);
}

/// Runs this test again in a network of its own, and with this `PATH`.
fn run_inside(mode: &str, path: Option<&str>) {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--", "env", &format!("{INSIDE}={mode}")]);
    command.args(path.map(|path| format!("PATH={path}")));
    command.arg(std::env::current_exe().expect("this test"));
    command.args(["--exact", "bridge_in_a_namespace", "--nocapture"]);
    let status = command.status().expect("unshare");
    assert!(status.success(), "the tests inside the namespace failed, {mode}");
}

async fn without_nft() {
    let folder = tempfile::tempdir().expect("a folder");
    let bridge = Bridge::open(BridgeConfig::new(folder.path())).await.expect("open");
    let (one, two) = (Place::new(folder.path(), "one"), Place::new(folder.path(), "two"));
    attach(&bridge, &one, "one", vec![]).await;
    let request = AttachRequest {
        container_id: "two".into(),
        netns: two.path.clone(),
        ports: publish(HostPort::Ephemeral),
        ..AttachRequest::default()
    };
    let error = bridge.attach(request).await.expect_err("can't publish").to_string();
    assert!(error.contains("install the package nftables"), "{error}");
    let second = attach(&bridge, &two, "two", vec![]).await;
    two.serve(80);
    assert_eq!(one.ask(SocketAddrV4::new(second.ipv4, 80)).expect("a neighbour"), "172.17.0.2");
    bridge.restore(&bridge.attachments()).await.expect("restore");
    assert_eq!(bridge.attachments().len(), 2);
    bridge.destroy().await.expect("destroy");
}

async fn containers_talk() {
    let folder = tempfile::tempdir().expect("a folder");
    let client = add_client(folder.path());
    let bridge = Bridge::open(BridgeConfig::new(folder.path())).await.expect("open");
    assert_eq!(bridge.subnet().to_string(), "172.17.0.0/16");
    let (one, two) = (Place::new(folder.path(), "one"), Place::new(folder.path(), "two"));
    let first = attach(&bridge, &one, "c1", vec![]).await;
    let started = Instant::now();
    let second = attach(&bridge, &two, "c2", vec![]).await;
    println!("an attach without ports took {:?}", started.elapsed());
    assert_eq!((first.ipv4, second.ipv4), ([172, 17, 0, 2].into(), [172, 17, 0, 3].into()));
    assert_eq!(first.gateway, Ipv4Addr::new(172, 17, 0, 1));
    two.serve(80);
    client.serve(80);
    let to_second = SocketAddrV4::new(second.ipv4, 80);
    assert_eq!(one.ask(to_second).expect("from a neighbour"), "172.17.0.2");
    assert_eq!(ask(to_second).expect("from the host"), "172.17.0.1");
    assert_eq!(two.ask(SocketAddrV4::new(CLIENT, 80)).expect("to the outside"), "10.99.0.1");
    assert!(client.ask(to_second).is_err(), "an unpublished port is closed to the outside");
    bridge.detach("c1").await.expect("detach");
    bridge.detach("c1").await.expect("detach twice");
    assert!(one.ask(to_second).is_err(), "detached");
    assert_eq!(attach(&bridge, &one, "c3", vec![]).await.ipv4, Ipv4Addr::new(172, 17, 0, 4));
    bridge.destroy().await.expect("destroy");
    drop(client);
    Netlink::open().expect("netlink").delete_link("outside0").expect("delete");
}

async fn ports_are_published() {
    let folder = tempfile::tempdir().expect("a folder");
    let client = add_client(folder.path());
    let bridge = Bridge::open(BridgeConfig::new(folder.path())).await.expect("open");
    let place = Place::new(folder.path(), "web");
    place.serve(80);
    attach(&bridge, &place, "web", publish(HostPort::Fixed(8080))).await;
    let published = SocketAddrV4::new(HOST, 8080);
    assert_eq!(client.ask(published).expect("from outside"), "10.99.0.2");
    assert_eq!(ask(published).expect("from the host"), "10.99.0.1");
    let local = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080);
    assert_eq!(ask(local).expect("from the host's loopback"), "172.17.0.1");
    let neighbour = Place::new(folder.path(), "neighbour");
    attach(&bridge, &neighbour, "neighbour", publish(HostPort::Ephemeral)).await;
    assert_eq!(neighbour.ask(published).expect("from a neighbour"), "172.17.0.1");
    assert_eq!(place.ask(published).expect("from itself"), "172.17.0.1");
    let echo = Place::new(folder.path(), "echo");
    echo.echo_udp(53);
    let port = PortRequest {
        protocol: Protocol::Udp,
        container_port: 53,
        ..publish(HostPort::Fixed(8080))[0].clone()
    };
    attach(&bridge, &echo, "echo", vec![port]).await;
    let echoed = netns::run_in(&client.path, || ping_udp(published)).expect("enter");
    assert_eq!(echoed.expect("an echo"), "ping", "the same port number for another protocol");
    bridge.detach("web").await.expect("detach");
    assert!(client.ask(published).is_err(), "no longer published");
    assert!(TcpListener::bind(published).is_ok(), "the port is free again");
    bridge.destroy().await.expect("destroy");
    drop(client);
    Netlink::open().expect("netlink").delete_link("outside0").expect("delete");
}

async fn a_restart_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let client = add_client(folder.path());
    let config = BridgeConfig::new(folder.path());
    let bridge = Bridge::open(config.clone()).await.expect("open");
    let (kept, gone) = (Place::new(folder.path(), "kept"), Place::new(folder.path(), "gone"));
    kept.serve(80);
    let attachment = attach(&bridge, &kept, "kept", publish(HostPort::Fixed(8080))).await;
    attach(&bridge, &gone, "gone", publish(HostPort::Fixed(8081))).await;
    drop(bridge);
    nft::delete("swarm0").expect("delete the rules, as an administrator might");
    let published = SocketAddrV4::new(HOST, 8080);
    assert!(client.ask(published).is_err(), "without rules");
    let bridge = Bridge::open(config).await.expect("open again");
    bridge.restore(&[("kept".into(), attachment.clone())]).await.expect("restore");
    assert_eq!(bridge.attachments(), [("kept".into(), attachment)]);
    assert_eq!(client.ask(published).expect("as before"), "10.99.0.2");
    let links = Netlink::open().expect("netlink").links().expect("links");
    let veths = links
        .iter()
        .filter_map(swarm_network::netlink::link_name)
        .filter(|n| n.starts_with("veth"));
    assert_eq!(veths.collect::<Vec<_>>(), ["vethkept"]);
    let fresh = Place::new(folder.path(), "fresh");
    let next = attach(&bridge, &fresh, "fresh", publish(HostPort::Fixed(8081))).await;
    assert_eq!(next.ipv4, Ipv4Addr::new(172, 17, 0, 4), "addresses go on in turn");
    bridge.destroy().await.expect("destroy");
    drop(client);
    Netlink::open().expect("netlink").delete_link("outside0").expect("delete");
}

async fn refusals_leave_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let bridge = Bridge::open(BridgeConfig::new(folder.path())).await.expect("open");
    let place = Place::new(folder.path(), "first");
    attach(&bridge, &place, "first", publish(HostPort::Fixed(8080))).await;
    let _taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 9000)).expect("listen");
    let other = Place::new(folder.path(), "other");
    for (netns, ipv4, port, expect) in [
        (&other.path, None, 8080, "Bind for 0.0.0.0:8080 failed: port is already allocated"),
        (
            &other.path,
            None,
            9000,
            "failed to bind host port 0.0.0.0:9000/tcp: address already in use",
        ),
        (&other.path, Some([172, 17, 0, 2]), 8090, "Address already in use"),
        (&folder.path().join("nowhere"), None, 8090, "failed to open network namespace"),
    ] {
        let request = AttachRequest {
            container_id: "other".into(),
            name: "web".into(),
            netns: netns.clone(),
            ipv4: ipv4.map(Into::into),
            ports: publish(HostPort::Fixed(port)),
            ..AttachRequest::default()
        };
        let error = bridge.attach(request).await.expect_err("must be refused").to_string();
        assert!(error.contains(expect), "{error}");
        assert_eq!(bridge.attachments().len(), 1, "{expect}");
    }
    attach(&bridge, &other, "other", publish(HostPort::Fixed(8090))).await;
    bridge.destroy().await.expect("destroy");
}

async fn closed_bridge() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = BridgeConfig {
        icc: false,
        bip: Some("10.55.0.1/24".parse().expect("a net")),
        name: "closed0".into(),
        ..BridgeConfig::new(folder.path())
    };
    let bridge = Bridge::open(config).await.expect("open");
    let (one, two) = (Place::new(folder.path(), "one"), Place::new(folder.path(), "two"));
    attach(&bridge, &one, "one", vec![]).await;
    let second = attach(&bridge, &two, "two", vec![]).await;
    two.serve(80);
    let to_second = SocketAddrV4::new(second.ipv4, 80);
    assert!(one.ask(to_second).is_err(), "neighbours are closed to each other");
    assert_eq!(ask(to_second).expect("from the host"), "10.55.0.1");
    bridge.destroy().await.expect("destroy");
}

async fn a_dropping_firewall_is_passed() {
    let folder = tempfile::tempdir().expect("a folder");
    let client = add_client(folder.path());
    nft::apply(
        "add table ip filter\nadd chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }\n",
    )
    .expect("a firewall");
    let bridge = Bridge::open(BridgeConfig::new(folder.path())).await.expect("open");
    let place = Place::new(folder.path(), "web");
    place.serve(80);
    client.serve(80);
    attach(&bridge, &place, "web", publish(HostPort::Fixed(8080))).await;
    assert_eq!(client.ask(SocketAddrV4::new(HOST, 8080)).expect("from outside"), "10.99.0.2");
    assert_eq!(place.ask(SocketAddrV4::new(CLIENT, 80)).expect("to the outside"), "10.99.0.1");
    bridge.destroy().await.expect("destroy");
    let left = nft::run(&["list", "chain", "ip", "filter", "FORWARD"], "").expect("list");
    assert!(!left.contains("swarm0"), "{left}");
    drop(client);
}
