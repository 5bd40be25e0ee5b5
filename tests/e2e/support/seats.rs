//! How many tests use the shared cluster at a time.
//!
//! libtest may run many threads: those that wait for their turn alone must not keep others from running. But the cluster
//! and the tests share a few cores, and what is awaited would come too late if everybody came at once.

use std::{
    cell::Cell,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

const SEATS: usize = 5;

/// How many places are taken, and whether somebody waits for all of them.
struct Taken {
    places: usize,
    all_wanted: bool,
}

static TAKEN: Mutex<Taken> = Mutex::new(Taken { places: 0, all_wanted: false });
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
            let full = |taken: &mut Taken| taken.places >= SEATS || taken.all_wanted;
            let mut taken = LEFT.wait_while(taken(), full).unwrap_or_else(PoisonError::into_inner);
            taken.places += 1;
        }
        Self
    }
}

/// Every place, given back when it is dropped: for what leaves no processor to others.
pub struct AllSeats;

impl AllSeats {
    /// Waits until everybody has left; nobody comes meanwhile.
    pub fn take() -> Self {
        let wanted = |taken: &mut Taken| taken.all_wanted;
        let mut taken = LEFT.wait_while(taken(), wanted).unwrap_or_else(PoisonError::into_inner);
        taken.all_wanted = true;
        drop(LEFT.wait_while(taken, |taken| taken.places > 0).unwrap_or_else(PoisonError::into_inner));
        Self
    }
}

impl Drop for AllSeats {
    fn drop(&mut self) {
        taken().all_wanted = false;
        LEFT.notify_all();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        OWN.set(OWN.get() - 1);
        if OWN.get() == 0 {
            taken().places -= 1;
            LEFT.notify_all();
        }
    }
}

fn taken() -> MutexGuard<'static, Taken> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}
