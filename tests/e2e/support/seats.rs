//! How many tests use the shared cluster at a time.
//!
//! libtest may run many threads: those that wait for their turn alone must not keep others from running. But the cluster
//! and the tests share a few cores, and what is awaited would come too late if everybody came at once.

use std::{
    cell::Cell,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

const SEATS: usize = 5;

static TAKEN: Mutex<usize> = Mutex::new(0);
static LEFT: Condvar = Condvar::new();

thread_local! {
    /// A test that asks twice sits already.
    static OWN: Cell<usize> = const { Cell::new(0) };
}

/// A place in the shared cluster, given back when it is dropped.
pub struct Seat;

impl Seat {
    /// Waits for a free place.
    pub fn take() -> Self {
        let own = OWN.get();
        OWN.set(own + 1);
        if own == 0 {
            let full = |taken: &mut usize| *taken >= SEATS;
            let mut taken = LEFT.wait_while(taken(), full).unwrap_or_else(PoisonError::into_inner);
            *taken += 1;
        }
        Self
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        OWN.set(OWN.get() - 1);
        if OWN.get() == 0 {
            *taken() -= 1;
            LEFT.notify_one();
        }
    }
}

fn taken() -> MutexGuard<'static, usize> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}
