//! A manager's engines, as a store tells them.
//!
//! Mirrors docker/docker's `pkg/discovery/kv`, which was blind for a heartbeat after each hiccup of the store, and took a
//! single bad value for an error of all.

use std::time::Duration;

use rand::Rng as _;

use super::entry::Entry;
use crate::store::Store;

/// A store that fails is asked again after so long at first, and after twice as long each time.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// But never later than this: one request a second of each manager is no load.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Tells the engines below a path, at once and after each change, for ever. While the store is away nothing is told, so
/// what was known last stays.
pub(crate) async fn follow(store: &dyn Store, path: &str, tell: impl Fn(&[Entry]) + Send + Sync) {
    let mut pause = RETRY_MIN;
    let mut said = String::new();
    loop {
        let mut answered = false;
        let error = store
            .follow(path, &mut |values| {
                answered = true;
                tell(&entries(&values));
            })
            .await;
        let error = error.to_string();
        // A store that is away for long is told of once.
        if answered || error != said {
            tracing::error!("Discovery error: {error}");
        }
        said = error;
        pause = if answered { RETRY_MIN } else { (pause * 2).min(RETRY_MAX) };
        // Managers that lost one store at one time don't come back at one time.
        let share = rand::rng().random_range(0.5..1.0);
        tokio::time::sleep(pause.mul_f64(share)).await;
    }
}

/// The addresses among values; the others are named in the log and harm nobody.
pub(crate) fn entries(values: &[String]) -> Vec<Entry> {
    let read = |value: &String| match Entry::parse(value) {
        Ok(entry) => Some(entry),
        Err(error) => {
            tracing::warn!("Discovery error: an entry that is no address is left out: {error}");
            None
        }
    };
    values.iter().filter(|value| !value.is_empty()).filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_value_hides_no_other() {
        let values = ["a:1", "", "nonsense", "[::1]:2"].map(str::to_owned);
        let entries = entries(&values);
        let shown: Vec<_> = entries.iter().map(Entry::to_string).collect();
        assert_eq!(shown, ["a:1", "[::1]:2"]);
    }
}
