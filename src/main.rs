//! zalo-tokend: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    zalo_tokend::cli::main()
}
