//! What is asked of the operating system, each in a few lines.

pub mod boot_time;
pub mod clock;
pub mod core_dumps;
pub mod freed_memory;
pub mod host_name;
pub mod memory_lock;
pub mod open_files;
pub mod own_program;
pub mod private_folder;
pub mod small_file;
