//! Scripts in virtual time: commands in, trace out.

use super::*;

/// Runs lines of `<second> <event> <arguments>` and returns `<second> <command>` for every command.
fn trace(script: &str) -> Vec<String> {
    let timing = Timing { heartbeat_epsilon: Duration::ZERO, ..Timing::default() };
    let mut core = Core::new(timing, "own", 1);
    let start = Instant::now();
    let (mut stream, mut trace) = (0, Vec::new());
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let second: f64 = words[0].parse().expect("a time");
        let node_id = words.get(2).copied().unwrap_or_default().to_owned();
        let text = |i: usize| words.get(i).copied().unwrap_or_default().to_owned();
        let event = match words[1] {
            "lead" => Event::Lead(
                words[2..]
                    .iter()
                    .map(|word| KnownNode {
                        node_id: word.split('(').next().unwrap_or_default().to_owned(),
                        is_down: word.ends_with("(down)"),
                        is_swift: word.ends_with("(swift)"),
                    })
                    .collect(),
            ),
            "configure" => {
                Event::Configure(Duration::from_secs_f64(words[2].parse().expect("a period")))
            }
            kind @ ("register" | "swift") => {
                stream += 1;
                Event::Register(Registration {
                    node_id,
                    session_id: text(3),
                    fresh_session_id: format!("s{stream}"),
                    stream,
                    is_swift: kind == "swift",
                })
            }
            "beat" => Event::Heartbeat { node_id, session_id: text(3) },
            "sign" => Event::Sign(node_id),
            "broken" => Event::StreamEnded { node_id, stream: words[3].parse().expect("a stream") },
            "removed" => Event::NodeRemoved(node_id),
            "tick" => Event::Tick,
            other => panic!("unknown event {other}"),
        };
        let now = start + Duration::from_secs_f64(second);
        trace.extend(
            core.step(now, event)
                .into_iter()
                .map(|command| format!("{} {}", words[0], show(command))),
        );
    }
    trace
}

fn show(command: Command) -> String {
    match command {
        Command::Accept { node_id, session_id } => format!("accept {node_id} {session_id}"),
        Command::Beat(period) => format!("beat {period:?}"),
        Command::Refuse(error) => format!("refuse: {error}"),
        Command::CloseSession { node_id, session_id, reason } => {
            format!("close {node_id} {session_id}: {reason}")
        }
        Command::SetState { node_id, state, message } => format!("{node_id} {state:?}: {message}"),
        Command::OrphanTasks { node_id } => format!("orphan {node_id}"),
    }
}

fn check(script: &str, expect: &[&str]) {
    assert_eq!(trace(script), expect);
}

#[test]
fn a_stock_agent_dies_after_three_periods_of_silence() {
    check(
        "0 register n
         5 beat n s1
         19.9 tick
         20 tick
         20 beat n s1
         21 register n s1",
        &[
            "0 accept n s1",
            "5 beat 5s",
            "20 n Down: heartbeat failure",
            "20 close n s1: node not registered",
            "20 refuse: node not registered",
            "21 accept n s2",
        ],
    );
}

#[test]
fn our_agents_beat_twice_a_second_and_die_after_three() {
    check(
        "0 swift n
         1 beat n s1
         3.9 tick
         4 tick",
        &[
            "0 accept n s1",
            "1 beat 500ms",
            "4 n Down: heartbeat failure",
            "4 close n s1: node not registered",
        ],
    );
}

#[test]
fn the_configured_period_counts_for_all() {
    check(
        "0 configure 0.5
         0 register a
         0 swift b
         0 beat a s1
         0 beat b s2
         1 configure 60
         1 beat a s1
         1 beat b s2
         2 configure 1
         2 beat b s2
         3 configure 5
         3 beat b s2",
        &[
            "0 accept a s1",
            "0 accept b s2",
            "0 beat 500ms",
            "0 beat 250ms",
            "1 beat 60s",
            "1 beat 6s",
            "2 beat 500ms",
            "3 beat 500ms",
        ],
    );
}

#[test]
fn a_broken_stream_leaves_three_seconds() {
    check(
        "0 register n
         1 broken n 1
         3.9 tick
         4 tick",
        &["0 accept n s1", "4 n Down: heartbeat failure", "4 close n s1: node not registered"],
    );
}

#[test]
fn a_fast_reconnect_keeps_everything() {
    // Resumed by its ID, begun anew, and the old stream's end noticed only after the new one began.
    check(
        "0 register n
         1 broken n 1
         2 register n s1
         5 tick
         6 broken n 2
         7 register n
         9 tick
         12 register n
         13 broken n 3
         16 tick",
        &[
            "0 accept n s1",
            "2 accept n s1",
            "7 close n s1: session invalid",
            "7 accept n s3",
            "12 close n s3: session invalid",
            "12 accept n s4",
        ],
    );
}

#[test]
fn a_suspect_that_beats_lives_on() {
    check(
        "0 swift n
         1 broken n 1
         3 beat n s1
         5.9 tick
         6 tick",
        &[
            "0 accept n s1",
            "3 beat 500ms",
            "6 n Down: heartbeat failure",
            "6 close n s1: node not registered",
        ],
    );
}

#[test]
fn a_new_leader_gives_every_node_a_window() {
    check(
        "0 lead a b c(down)
         29 swift a
         29 beat b old
         29.9 tick
         30 tick
         32 tick
         86399 tick
         86400 tick
         86430 tick
         86432 tick",
        &[
            "0 a Unknown: Node moved to \"unknown\" state due to leadership change in cluster",
            "0 b Unknown: Node moved to \"unknown\" state due to leadership change in cluster",
            "29 accept a s1",
            "29 refuse: session invalid",
            "30 b Down: heartbeat failure for node in \"unknown\" state",
            "32 a Down: heartbeat failure",
            "32 close a s1: node not registered",
            "86400 orphan c",
            "86430 orphan b",
            "86432 orphan a",
        ],
    );
}

#[test]
fn our_own_agents_find_a_new_leader_soon_or_never() {
    let unknown = "Unknown: Node moved to \"unknown\" state due to leadership change in cluster";
    let down = "Down: heartbeat failure for node in \"unknown\" state";
    check(
        "0 lead a(swift) b(swift) c
         1.4 swift a
         2.9 beat a s1
         3.1 tick
         5.8 beat a s1
         8.7 tick",
        &[
            &format!("0 a {unknown}"),
            &format!("0 b {unknown}"),
            &format!("0 c {unknown}"),
            "1.4 accept a s1",
            "2.9 beat 500ms",
            &format!("3.1 b {down}"),
            "5.8 beat 500ms",
        ],
    );
    // Who lives but cannot register yet gets more time, and not for ever.
    check(
        "0 lead a(swift) b(swift)
         2 sign a
         3.1 tick
         4.9 sign a
         7.8 sign a
         10 sign b
         10.7 sign a
         13.6 sign a
         16.5 sign a
         19.4 sign a
         22.3 sign a
         25.2 sign a
         28.1 sign a
         29.9 tick
         30.1 tick",
        &[
            &format!("0 a {unknown}"),
            &format!("0 b {unknown}"),
            &format!("3.1 b {down}"),
            &format!("30.1 a {down}"),
        ],
    );
    // Who hears nobody from the start may be cut off itself.
    check(
        "0 lead a(swift) b(swift)
         3.1 tick
         14.9 tick
         15.2 tick",
        &[
            &format!("0 a {unknown}"),
            &format!("0 b {unknown}"),
            &format!("15.2 a {down}"),
            &format!("15.2 b {down}"),
        ],
    );
}

#[test]
fn registrations_are_limited_and_still_count_as_life() {
    check(
        "0 register n
         1 register n
         2 register n
         3 register n
         4 broken n 4
         5 register n
         7.5 tick
         8 tick
         11 register n",
        &[
            "0 accept n s1",
            "1 close n s1: session invalid",
            "1 accept n s2",
            "2 close n s2: session invalid",
            "2 accept n s3",
            "3 close n s3: session invalid",
            "3 accept n s4",
            "5 refuse: node n exceeded rate limit count of registrations",
            "8 n Down: heartbeat failure",
            "8 close n s4: node not registered",
            "11 accept n s6",
        ],
    );
}

#[test]
fn a_removed_node_is_cut_off() {
    check(
        "0 register n
         1 removed n
         2 beat n s1
         60 tick",
        &["0 accept n s1", "1 close n s1: node not found", "2 refuse: node not registered"],
    );
}

#[test]
fn wakeup_is_the_earliest_deadline() {
    let mut core = Core::new(Timing::default(), "own", 1);
    let now = Instant::now();
    assert_eq!(core.wakeup(), None);
    let known = |node_id: &str, is_down| KnownNode {
        node_id: node_id.to_owned(),
        is_down,
        is_swift: false,
    };
    core.step(now, Event::Lead(vec![known("a", false), known("b", true)]));
    assert_eq!(core.wakeup(), Some(now + Duration::from_secs(30)));
}

#[test]
fn nobody_dies_because_the_manager_stood_still() {
    check(
        "0 swift a
         0 swift b
         10 tick
         11 beat a s1
         12 beat a s1
         13 tick",
        &[
            "0 accept a s1",
            "0 accept b s2",
            "11 beat 500ms",
            "12 beat 500ms",
            "13 b Down: heartbeat failure",
            "13 close b s2: node not registered",
        ],
    );
}

#[test]
fn a_manager_that_hears_nobody_suspects_itself() {
    check(
        "0 swift own
         0 swift a
         0 swift b
         1 beat a s2
         1.5 beat b s3
         4 beat own s1
         4.1 tick
         4.6 tick
         6.5 beat own s1
         9 beat own s1
         11.5 beat own s1
         14 beat own s1
         16.2 tick",
        &[
            "0 accept own s1",
            "0 accept a s2",
            "0 accept b s3",
            "1 beat 500ms",
            "1.5 beat 500ms",
            "4 beat 500ms",
            "6.5 beat 500ms",
            "9 beat 500ms",
            "11.5 beat 500ms",
            "14 beat 500ms",
            "16.2 a Down: heartbeat failure",
            "16.2 close a s2: node not registered",
        ],
    );
}

#[test]
fn one_that_is_heard_again_clears_the_network() {
    check(
        "0 swift a
         0 swift b
         3.1 tick
         5 beat a s1
         7.9 beat a s1
         8.1 tick",
        &[
            "0 accept a s1",
            "0 accept b s2",
            "5 beat 500ms",
            "7.9 beat 500ms",
            "8.1 b Down: heartbeat failure",
            "8.1 close b s2: node not registered",
        ],
    );
}

#[test]
fn closed_connections_and_a_single_worker_are_no_sign_of_being_cut_off() {
    check(
        "0 swift a
         0 swift b
         1 broken a 1
         1 broken b 2
         4.1 tick",
        &[
            "0 accept a s1",
            "0 accept b s2",
            "4.1 a Down: heartbeat failure",
            "4.1 close a s1: node not registered",
            "4.1 b Down: heartbeat failure",
            "4.1 close b s2: node not registered",
        ],
    );
    check(
        "0 swift own
         0 swift a
         2 beat own s1
         3.1 tick",
        &[
            "0 accept own s1",
            "0 accept a s2",
            "2 beat 500ms",
            "3.1 a Down: heartbeat failure",
            "3.1 close a s2: node not registered",
        ],
    );
}
