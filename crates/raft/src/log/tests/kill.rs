//! kill -9 at random moments, in the midst of roll-overs and compactions too: what was acknowledged is there.
//!
//! The test runs its own executable as the writer, which tells each acknowledged index.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::power::{dice, write_some};
use super::*;

const DIRECTORY: &str = "SWARM_LOG_KILL_DIRECTORY";

fn last(recovered: &Recovered) -> u64 {
    recovered.compacted.index + recovered.entries.len() as u64
}

/// Not a test of its own: what the child runs.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIRECTORY) else { return };
    let mut log = open_small(Path::new(&dir));
    let mut last = last(&log.recover().expect("is sound"));
    let mut dice = dice(last + 88_172_645_463_325_252);
    loop {
        last = write_some(&mut log, last, &mut dice);
        let mut out = std::io::stdout();
        writeln!(out, "acknowledged {last}").and_then(|()| out.flush()).expect("the parent reads");
    }
}

#[test]
fn kill_nine_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().expect("a directory");
    for lines in [1, 40, 3, 17, 90, 5, 64, 8] {
        let mut child = Command::new(std::env::current_exe().expect("is known"))
            .args(["log::tests::kill::child", "--exact", "--nocapture"])
            .env(DIRECTORY, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let told =
            BufReader::new(child.stdout.take().expect("is piped")).lines().map_while(Result::ok);
        let mut numbers =
            told.filter_map(|line| line.rsplit_once("acknowledged ")?.1.parse::<u64>().ok());
        let told = numbers.by_ref().nth(lines - 1).expect("acknowledges");
        child.kill().expect("is killed");
        // What it still told before it died counts too.
        let acknowledged = numbers.last().unwrap_or(told);
        child.wait().expect("is gone");
        let found = last(&open_small(dir.path()).recover().expect("is sound"));
        // One batch more, of three entries at most, was on its way.
        assert!((acknowledged..=acknowledged + 3).contains(&found), "{found} for {acknowledged}");
    }
    assert!(files(dir.path(), ".wal").iter().all(|path| !path.ends_with("00000001.wal")));
}
