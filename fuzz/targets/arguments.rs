//! The command line: arguments, one a line, as bytes that need not be UTF-8.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use zalo_tokend::cli::instead_of_running;

pub fn check(bytes: &[u8]) {
    let given = bytes.split(|byte| *byte == b'\n').map(|argument| OsString::from_vec(argument.to_vec()));
    let arguments: Vec<OsString> = std::iter::once(OsString::from("zalo-tokend")).chain(given).collect();
    let said = instead_of_running(arguments.clone());
    if let Some((text, exit_code)) = &said {
        assert!(!text.trim().is_empty(), "nothing is said");
        // Help and version are what was asked for; all else is wrong usage.
        assert!(matches!(exit_code, 0 | 2), "exit code {exit_code}: {text}");
    }
    assert_eq!(instead_of_running(arguments), said);
}
