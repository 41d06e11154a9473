//! The kit itself: hosts that reach each other, a stock engine that runs the image, and nothing left afterwards.

use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use swarm_testkit::{
    Engine, Host, Lab, Output, StockEngine, busybox_image_tar, require_command, require_hosts,
    wait_until,
};

#[test]
fn hosts_reach_each_other_and_go() {
    if !require_hosts() {
        return;
    }
    let lab = Lab::new();
    let folder = lab.folder().to_owned();
    let (one, two) = (lab.host("one"), lab.host("two"));
    assert_eq!(Output::of(&mut one.command("hostname")).ok(), "one");
    let listener = two.in_network(|| TcpListener::bind(("10.77.0.2", 80))).expect("listen");
    let connect = || TcpStream::connect((two.address(), 80)).and_then(|mut s| s.read(&mut [0]));
    let server =
        std::thread::spawn(move || listener.accept().map(|(_, peer)| peer.ip().to_string()));
    one.in_network(connect).expect("connect");
    assert_eq!(server.join().expect("no panic").expect("a client"), "10.77.0.1");
    let mut sleeper = one.command("sleep").arg("1000").spawn().expect("start a process");
    drop((one, two, lab));
    assert!(!sleeper.wait().expect("wait").success(), "killed with its host");
    assert!(!folder.exists(), "the lab's folder is gone");
}

#[test]
fn who_is_deaf_is_heard() {
    if !(require_hosts() && require_command("nft")) {
        return;
    }
    let lab = Lab::new();
    let (one, two) = (lab.host("one"), lab.host("two"));
    let socket = |host: &Host| host.in_network(|| UdpSocket::bind((host.address(), 80)));
    let (first, second) = (socket(&one).expect("a socket"), socket(&two).expect("a socket"));
    for socket in [&first, &second] {
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    }
    let arrives = |from: &UdpSocket, to: &UdpSocket| {
        from.send_to(b"?", to.local_addr().expect("an address")).expect("nobody is told");
        to.recv(&mut [0]).is_ok()
    };
    one.deafen(&[two.address()]);
    assert!(arrives(&first, &second) && !arrives(&second, &first));
    one.deafen(&[]);
    assert!(arrives(&first, &second) && arrives(&second, &first));
}

#[test]
fn a_stock_engine_runs_the_image() {
    if !(require_hosts() && require_command("dockerd") && require_command("docker")) {
        return;
    }
    let lab = Lab::new();
    let folder = lab.folder().to_owned();
    let image = folder.join("image.tar");
    std::fs::write(&image, busybox_image_tar("busybox:test")).expect("write");
    let engine = StockEngine::start(lab.host("stock"), &[]);
    engine.docker(&["load", "--input", image.to_str().expect("a plain path")]).ok();
    let said = engine
        .docker(&["run", "--rm", "busybox:test", "sh", "-c", "echo $(id -un) from busybox"])
        .ok();
    assert_eq!(said, "root from busybox");
    let container = engine.docker(&["run", "--detach", "busybox:test", "sleep", "1000"]).ok();
    let pid = engine.docker(&["inspect", "--format", "{{.State.Pid}}", &container]).ok();
    drop((engine, lab));
    let stat = Path::new("/proc").join(pid).join("stat");
    wait_until(Duration::from_secs(10), "the container's end with its host", || {
        // Dead, whether or not the machine's init has taken notice.
        std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")).then_some(())
    });
    assert!(!folder.exists(), "the lab's folder is gone");
}
