//! Where a command reads an answer of Zalo's from: a file, or stdin.

use std::io::Read;
use std::path::Path;

use super::{Failure, exit};
use crate::rotation::LONGEST_BODY;

/// The name of the source, and what is in it.
pub(super) fn read(file: Option<&Path>) -> Result<(String, Vec<u8>), Failure> {
    let (shown, read) = match file {
        Some(file) => (file.display().to_string(), std::fs::File::open(file).and_then(read_capped)),
        None => ("stdin".to_owned(), read_capped(std::io::stdin().lock())),
    };
    let bytes = read.map_err(|error| {
        let is_denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        let exit_code = if is_denied { exit::NOT_PERMITTED } else { exit::FAILED };
        Failure::new(exit_code, format!("{shown} cannot be read: {error}; give a readable file or stdin"))
    })?;
    if bytes.len() > LONGEST_BODY {
        let what = format!(
            "{shown}: longer than 64 KiB, which no token response is; give Zalo's token response as it came"
        );
        return Err(Failure::new(exit::FAILED, what));
    }
    Ok((shown, bytes))
}

fn read_capped(source: impl Read) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    source.take(LONGEST_BODY as u64 + 1).read_to_end(&mut body)?;
    Ok(body)
}
