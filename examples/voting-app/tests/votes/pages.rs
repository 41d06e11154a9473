//! The pages, as a browser asks for them, and what they say when something is away.

use std::io::{BufRead, BufReader};
use std::time::Instant;

use swarm_testkit::wait_until;

use crate::stack::{Answer, PATIENCE, Stack, ask, can_run, open};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

#[test]
fn a_voter_has_one_vote_and_may_change_it() {
    if !can_run() {
        return;
    }
    let mut stack = Stack::start();
    let page = ask(stack.front_end(1), "GET /", "");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Served by <strong>frontend01</strong>"), "{}", page.body);
    let cookie = cookie_of(&page);
    let cast = |stack: &Stack, number, cookie: &str, choice: &str| {
        let head = format!("POST /\n{FORM}\nCookie: {cookie}");
        ask(stack.front_end(number), &head, &format!("vote={choice}"))
    };

    // The vote is changed at the other front end, then at the first again; the page knows.
    let cats = cast(&stack, 1, &cookie, "cats");
    assert_eq!((cats.status, cats.header("location")), (303, Some("/")));
    let dogs = cast(&stack, 2, &cookie_of(&cats), "dogs");
    let page = ask(stack.front_end(1), &format!("GET /\nCookie: {}", cookie_of(&dogs)), "");
    assert!(page.body.contains("You voted Dogs."), "{}", page.body);
    assert_eq!(page.header("set-cookie"), None);
    await_results(&stack, (0, 1));

    for body in ["", "vote=birds", "vote"] {
        let refused = ask(stack.front_end(1), &format!("POST /\n{FORM}\nCookie: {cookie}"), body);
        assert_eq!(refused.status, 400, "{body}");
        assert!(refused.body.contains("Please choose Cats or Dogs."), "{}", refused.body);
    }
    let endless = "vote=cats&".repeat(200);
    assert_eq!(ask(stack.front_end(1), &format!("POST /\n{FORM}"), &endless).status, 400);

    // Its Redis is away: that is said, and the pair can be left out.
    assert_eq!(ask(stack.front_end(1), "GET /health", "").status, 200);
    stack.kill("redis01");
    let refused = cast(&stack, 1, &cookie_of(&dogs), "cats");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("2")));
    assert!(refused.body.contains("could not be recorded"), "{}", refused.body);
    assert_eq!(ask(stack.front_end(1), "GET /health", "").status, 503);
    assert_eq!(ask(stack.front_end(2), "GET /health", "").status, 200);
    assert_eq!(cast(&stack, 2, &cookie_of(&refused), "cats").status, 303);
    await_results(&stack, (1, 0));
    stack.restart("redis01");
    wait_until(PATIENCE, "the front end to find its Redis", || {
        (ask(stack.front_end(1), "GET /health", "").status == 200).then_some(())
    });

    // A worker that was away finds what was queued meanwhile; results are shown without Postgres too.
    stack.kill("worker01");
    assert_eq!(cast(&stack, 1, "", "dogs").status, 303);
    stack.restart("worker01");
    await_results(&stack, (1, 1));
    stack.kill("pg");
    await_event(&stack, r#"{"cats":1,"dogs":1,"fresh":false}"#);
    assert_eq!(ask(stack.results(), "GET /health", "").status, 503);
    let page = ask(stack.results(), "GET /", "");
    assert!(page.body.contains("id=\"old\" >") && page.body.contains("50.0%"), "{}", page.body);
    stack.restart("pg");
    await_event(&stack, r#"{"cats":1,"dogs":1,"fresh":true}"#);
}

/// What a browser sends back of what it was told to keep.
fn cookie_of(answer: &Answer) -> String {
    let header = answer.header("set-cookie").expect("a cookie");
    header.split(';').next().expect("a value").to_owned()
}

fn await_results(stack: &Stack, (cats, dogs): (u64, u64)) {
    await_event(stack, &format!(r#"{{"cats":{cats},"dogs":{dogs},"fresh":true}}"#));
}

/// Follows the results until they are so.
fn await_event(stack: &Stack, expect: &str) {
    let stream = BufReader::new(open(stack.results(), "GET /events", ""));
    let expect = format!("data: {expect}");
    // The stream itself never ends, and never falls silent.
    let deadline = Instant::now() + PATIENCE;
    let mut lines = stream.lines().map(|line| line.expect("events go on"));
    let found = lines.by_ref().take_while(|_| Instant::now() < deadline).any(|line| line == expect);
    assert!(found, "waited in vain for {expect}");
}
