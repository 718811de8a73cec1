//! `cargo run --package codegen` rewrites `src/generated/v1alpha1.rs`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    std::fs::write(codegen::committed(), codegen::generate()?)?;
    println!("wrote {}", codegen::committed().display());
    Ok(())
}
