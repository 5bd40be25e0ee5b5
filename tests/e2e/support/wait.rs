//! Waiting for what the cluster does in its own time, with a text that says what was awaited and what was there instead.

use std::{
    future::Future,
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Runtime};

/// For what takes a moment: a reconcile, a scheduler's round, a simulated kubelet's step. Generous, since tests share two cores.
pub const SOON: Duration = Duration::from_secs(60);
/// For what takes several rounds: a StatefulSet, a deleted namespace.
pub const LATER: Duration = Duration::from_secs(180);

const PAUSE: Duration = Duration::from_millis(50);

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a tokio runtime"));

/// Runs a future to its end on the runtime that all tests share.
pub fn run<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

/// Looks until `look` answers `Ok`, and fails with its last reason when that takes too long.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + within;
    loop {
        let reason = match look() {
            Ok(answer) => return answer,
            Err(reason) => reason,
        };
        assert!(Instant::now() < end, "not within {within:?}: {what}\nbut: {reason}");
        thread::sleep(PAUSE);
    }
}

/// Looks for a while and fails as soon as `look` answers with a reason.
#[track_caller]
pub fn never(what: &str, during: Duration, mut look: impl FnMut() -> Option<String>) {
    let end = Instant::now() + during;
    while Instant::now() < end {
        if let Some(reason) = look() {
            panic!("this must not happen: {what}\nbut: {reason}");
        }
        thread::sleep(PAUSE);
    }
}

/// Says that something is over when this is dropped, also where a test fails: threads that work until then end with it.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// `Ok` where `so`, else the reason: the shape that [`eventually`] wants.
pub fn when(so: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if so { Ok(()) } else { Err(reason()) }
}

/// Says something that people want to see although the test passes: libtest keeps what `println!` says to itself.
pub fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}
