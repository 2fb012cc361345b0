//! How is free memory returned to the system?

/// Makes the allocator return memory that has been free for a short time. mimalloc searches for such
/// memory when a block of this size is freed, and an idle process frees none. The block is only an
/// address range; it is never written.
pub fn settle() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(BLOCK)));
}

/// Large enough to be taken from the system's memory and not from a page of smaller blocks, in bytes.
const BLOCK: usize = 2 << 20;
