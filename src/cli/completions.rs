//! `completions`: a shell's completions, from the same description of the arguments as the program itself.

use clap::Command;
use clap_complete::Shell;

use super::{Failure, print};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The shell that is to complete
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn run(mut command: Command, arguments: &Arguments) -> Result<(), Failure> {
    let name = command.get_name().to_owned();
    // Into memory first: clap_complete panics where its writer fails, and a reader may go away at any time.
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, name, &mut text);
    print(&String::from_utf8_lossy(&text))
}
