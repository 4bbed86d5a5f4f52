//! The allocator and its one setting.

/// Suits blocks and tables, which are allocated and freed in the same sizes all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h (2 and 3 alike); the crate does not name it.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Keeps freed memory instead of returning it to the system at once: otherwise every page of tables
/// that double would be cleared twice (measured: a fifth of a run's time).
pub(crate) fn keep_freed() {
    // SAFETY: sets a number inside the allocator; may be called at any time from one thread.
    #[allow(unsafe_code)]
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, -1);
    }
}
