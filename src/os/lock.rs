//! [`lock`], a mutex past its poison: a panic stays in its mount (docs/decisions/0003), and what these mutexes guard is
//! whole at every step of those who hold them.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the mutex guards, also after a panic while it was held.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
