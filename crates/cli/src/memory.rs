//! Gives memory back to the kernel after a peak.
//!
//! The C library keeps what was freed, in case it is needed again: a daemon that once held 100,000 tasks would stay at
//! a gigabyte. Trimming takes milliseconds, so it is done only where there is something to give.
#![expect(unsafe_code, reason = "one call of the C library")]

use std::fs;
use std::time::Duration;

/// How often a process looks at its size.
const PERIOD: Duration = Duration::from_secs(20);
/// Growth since the last time that makes trimming worth while.
const GROWTH_KB_MIN: u64 = 32 << 10;

/// Looks after the process's size for as long as it lives, on a thread of its own: the walk through a large heap must not
/// hold up those of a runtime.
pub(crate) fn keep_trimmed() {
    let watching = std::thread::Builder::new().name("trim".to_owned()).spawn(watch);
    if let Err(error) = watching {
        tracing::warn!(%error, "memory that is free stays with the process");
    }
}

fn watch() {
    let mut least = resident_anonymous_kb().unwrap_or_default();
    loop {
        std::thread::sleep(PERIOD);
        let Some(size) = resident_anonymous_kb() else { return };
        if size < least.saturating_add(GROWTH_KB_MIN) {
            least = least.min(size);
            continue;
        }
        trim();
        least = resident_anonymous_kb().unwrap_or(size);
        tracing::debug!(before_kb = size, after_kb = least, "trimmed the heap");
    }
}

fn trim() {
    // SAFETY: the function may be called at any time from any thread; it only returns free pages to the kernel.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The process's own memory, without what is mapped from files.
fn resident_anonymous_kb() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_memory_goes_back() {
        let blocks: Vec<Vec<u8>> = (0..20_000).map(|_| vec![1; 4000]).collect();
        // Keeps the heap's top, so that freeing alone gives nothing back.
        let last = vec![1_u8; 4000];
        let peak = resident_anonymous_kb().expect("Linux tells");
        drop(blocks);
        trim();
        let after = resident_anonymous_kb().expect("Linux tells");
        assert!(after + (GROWTH_KB_MIN) < peak, "{peak} kB before, {after} kB after");
        drop(last);
    }
}
