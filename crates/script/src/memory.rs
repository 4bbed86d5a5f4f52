//! The memory of an engine: counted by the bytes that were asked for, and bounded.
//!
//! The engine's own bound cannot tell a script that took too much from one that failed otherwise:
//! without memory there is no room for an exception either. So the allocator bounds the bytes, and
//! notes that it refused some.

use std::cell::Cell;
use std::rc::Rc;

use rquickjs::allocator::{Allocator, RustAllocator};

/// The account of an engine's memory.
#[derive(Debug, Default)]
pub(crate) struct Account {
    used: Cell<usize>,
    most: Cell<Option<usize>>,
    has_refused: Cell<bool>,
}

impl Account {
    /// Bounds the memory to what is used now and so many bytes more.
    pub(crate) fn bound(&self, more: usize) {
        self.most.set(Some(self.used.get().saturating_add(more)));
    }

    /// Begins a run: no memory was refused yet.
    pub(crate) fn begin(&self) {
        self.has_refused.set(false);
    }

    /// Whether memory was refused since the run began.
    pub(crate) fn has_refused(&self) -> bool {
        self.has_refused.get()
    }

    fn has_room(&self, more: usize) -> bool {
        let has_room = self.most.get().is_none_or(|most| self.used.get().saturating_add(more) <= most);
        if !has_room {
            self.has_refused.set(true);
        }
        has_room
    }

    fn add(&self, bytes: usize) {
        self.used.set(self.used.get().saturating_add(bytes));
    }

    fn sub(&self, bytes: usize) {
        self.used.set(self.used.get().saturating_sub(bytes));
    }
}

/// An allocator with an account.
pub(crate) struct Accounted {
    inner: RustAllocator,
    account: Rc<Account>,
}

impl Accounted {
    pub(crate) fn new(account: Rc<Account>) -> Accounted {
        Accounted { inner: RustAllocator, account }
    }

    /// Adds what was allocated, if it was.
    fn note(&self, pointer: *mut u8) -> *mut u8 {
        if !pointer.is_null() {
            // SAFETY: the inner allocator has just returned the pointer.
            self.account.add(unsafe { RustAllocator::usable_size(pointer) });
        }
        pointer
    }
}

// SAFETY: every call goes to the inner allocator, or returns null, which means that there is no
// memory. Sizes are those of the inner allocator.
unsafe impl Allocator for Accounted {
    fn alloc(&mut self, size: usize) -> *mut u8 {
        if !self.account.has_room(size) {
            return std::ptr::null_mut();
        }
        let pointer = self.inner.alloc(size);
        self.note(pointer)
    }

    fn calloc(&mut self, count: usize, size: usize) -> *mut u8 {
        if !self.account.has_room(count.saturating_mul(size)) {
            return std::ptr::null_mut();
        }
        let pointer = self.inner.calloc(count, size);
        self.note(pointer)
    }

    unsafe fn dealloc(&mut self, pointer: *mut u8) {
        if !pointer.is_null() {
            // SAFETY: the caller got the pointer from this allocator, so from the inner one.
            self.account.sub(unsafe { RustAllocator::usable_size(pointer) });
        }
        // SAFETY: as above.
        unsafe { self.inner.dealloc(pointer) };
    }

    unsafe fn realloc(&mut self, pointer: *mut u8, new_size: usize) -> *mut u8 {
        // SAFETY: the caller got the pointer from this allocator, so from the inner one.
        let before = if pointer.is_null() { 0 } else { unsafe { RustAllocator::usable_size(pointer) } };
        if !self.account.has_room(new_size.saturating_sub(before)) {
            return std::ptr::null_mut();
        }
        // SAFETY: as above.
        let moved = unsafe { self.inner.realloc(pointer, new_size) };
        if !moved.is_null() {
            self.account.sub(before);
        }
        self.note(moved)
    }

    unsafe fn usable_size(pointer: *mut u8) -> usize {
        // SAFETY: the caller got the pointer from this allocator, so from the inner one.
        unsafe { RustAllocator::usable_size(pointer) }
    }
}
