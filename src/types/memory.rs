//! Memory that is free goes back to the system.

/// Makes the allocator return what has been free for a moment. mimalloc looks for such memory when a block of
/// this size is freed, and an idle process frees none. The block is an address range, never touched.
pub fn settle() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(BLOCK)));
}

/// Large enough to be taken from the system's memory and not from a page of smaller blocks, in bytes.
const BLOCK: usize = 2 << 20;
