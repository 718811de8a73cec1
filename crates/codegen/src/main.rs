//! `codegen` rewrites `src/generated/v1alpha1.rs`; `codegen reference` the pages of `docs/reference/`.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    match env::args().nth(1).as_deref() {
        None => write(&codegen::committed(), &codegen::generate()?),
        Some("reference") => {
            for (path, page) in codegen::reference::pages()? {
                write(&codegen::workspace().join("docs").join(path), &page)?;
            }
            Ok(())
        }
        Some(other) => Err(format!("expected nothing or reference, found {other}").into()),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    fs::write(path, text)?;
    println!("wrote {}", path.display());
    Ok(())
}
