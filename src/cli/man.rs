//! `man`: the manual page, as roff, for `man -l` and for the package.
//!
//! Commands and options come from the description of the arguments, so that they cannot differ from `--help`. What
//! no argument tells (exit codes, files, environment, signals) is written here.

use clap::{Arg, ArgGroup, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::{Failure, print};

/// The section of manuals that daemons and their administration stand in.
const SECTION: &str = "8";

/// A heading's entries: a name in bold, and what is to be said of it.
type Entries = &'static [(&'static str, &'static str)];

const EXIT_STATUS: Entries = &[
    ("0", "Done."),
    ("1", "Failed."),
    ("2", "Wrong usage."),
    ("69", "No daemon is running, and this command needs one."),
    (
        "75",
        "Not now: no access token is valid, an attempt is under way or undecided, consent is needed first, another \
         daemon works on the same store, or import --verify could not ask Zalo. The sentence says whether to wait or to \
         act.",
    ),
    ("77", "Not permitted: the store has a wrong owner or mode, or a file may not be read."),
    ("78", "The config (a secret file that others may read among it) or the store cannot be used as it is."),
];

const FILES: Entries = &[
    (
        "/run/zalo-tokend/api.sock",
        "The socket of the daemon's API, where neither --socket nor $ZALO_TOKEND_SOCKET nor the config names another.",
    ),
    (
        "/etc/zalo-tokend/config.toml",
        "The config, where neither --config nor $ZALO_TOKEND_CONFIG names another. The comments of \
         config.example.toml explain every key.",
    ),
    (
        "/var/lib/zalo-tokend/tokens.db",
        "The store, where the config names no other and $STATE_DIRECTORY is not set. It and the files beside it \
         whose names begin with \"tokens.db-\" hold the only copy of the tokens, and only their owner may open them.",
    ),
    (
        "tokens.db-control",
        "Beside the store: the socket at which refresh and resolve reach the running daemon.",
    ),
];

const ENVIRONMENT: Entries = &[
    ("ZALO_TOKEND_CONFIG", "The config file, where there is no --config."),
    ("ZALO_TOKEND_SOCKET", "The socket of the daemon's API, where there is no --socket."),
    ("STATE_DIRECTORY", "Where tokens.db is, unless the config names a store. systemd sets it."),
    (
        "CREDENTIALS_DIRECTORY",
        "Where the secrets are that secret_key_credential names. systemd sets it for a unit with LoadCredential=.",
    ),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC",
        "How the daemon tells systemd that it is ready, reloading, alive or about to end. systemd sets them for a \
         unit of Type=notify.",
    ),
];

const SIGNALS: Entries = &[
    (
        "SIGHUP",
        "The daemon reads its config again. A config with a mistake changes nothing and is an error in the log. No \
         request under way is dropped.",
    ),
    (
        "SIGTERM, SIGINT",
        "The daemon begins no new request, waits for those that may have spent a refresh token, stores their \
         answers and ends with status 0. A second signal does not make it hurry. Do not use SIGKILL: an answer that \
         is on its way is lost by it.",
    ),
];

pub(super) fn run(command: Command) -> Result<(), Failure> {
    let mut page = Vec::new();
    write_page(command, &mut page)?;
    print(&String::from_utf8_lossy(&page))
}

fn write_page(command: Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    // Each for itself, since what clap adds by itself (help, the global options) would stand in each; and complete,
    // since only then a group knows its options.
    let alone = |command: &Command| {
        let mut command = command.clone().disable_help_flag(true);
        command.build();
        command
    };
    let commands: Vec<Command> = command.get_subcommands().map(alone).collect();
    let name = command.get_name().to_owned();
    let version = command.get_version().unwrap_or_default().to_owned();
    let man = Man::new(command.disable_help_subcommand(true))
        .section(SECTION)
        .source(format!("{name} {version}"))
        .manual("System administration");
    man.render_title(page)?;
    man.render_name_section(page)?;
    synopsis(&name, &commands).to_writer(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    heading("COMMANDS").to_writer(page)?;
    for command in commands {
        describe(&name, command, page)?;
    }
    for (title, entries) in
        [("EXIT STATUS", EXIT_STATUS), ("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT), ("SIGNALS", SIGNALS)]
    {
        listing(title, entries).to_writer(page)?;
    }
    let mut see_also = heading("SEE ALSO");
    see_also.text([
        bold("systemd.service"),
        roman("(5), "),
        bold("systemd.exec"),
        roman("(5) on LoadCredential=, "),
        bold("journalctl"),
        roman("(1), "),
        italic("/usr/share/doc/zalo-tokend/README.md"),
    ]);
    see_also.to_writer(page)
}

fn heading(title: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    roff
}

fn listing(title: &str, entries: Entries) -> Roff {
    let mut roff = heading(title);
    for (name, what) in entries {
        roff.control("TP", []).text([bold(*name)]).text([roman(*what)]);
    }
    roff
}

/// One line a command, with its own arguments.
fn synopsis(name: &str, commands: &[Command]) -> Roff {
    let mut roff = heading("SYNOPSIS");
    for command in commands {
        let mut line = vec![bold(format!("{name} {}", command.get_name()))];
        let (positional, options): (Vec<&Arg>, Vec<&Arg>) =
            command.get_arguments().partition(|argument| argument.is_positional());
        let choices: Vec<&ArgGroup> = command.get_groups().filter(|group| group.is_required_set()).collect();
        for argument in options.into_iter().chain(positional) {
            let choice = choices.iter().find(|group| group.get_args().any(|id| id == argument.get_id()));
            let brackets = match choice {
                // Of these one has to be given: `{--present|--give-up}`.
                Some(group) if group.get_args().next() == Some(argument.get_id()) => (" {", ""),
                Some(_) => ("|", ""),
                None if argument.is_required_set() => (" ", ""),
                None => (" [", "]"),
            };
            let closes = choice.is_some_and(|group| group.get_args().last() == Some(argument.get_id()));
            line.extend(in_synopsis(argument, brackets));
            line.push(roman(if closes { "}" } else { "" }));
        }
        roff.text(line).control("br", []);
    }
    roff
}

/// `[--file FILE]`, `OA_ID`.
fn in_synopsis(argument: &Arg, (before, after): (&'static str, &'static str)) -> Vec<Inline> {
    let mut words = Vec::new();
    if let Some(long) = argument.get_long() {
        words.push(bold(format!("--{long}")));
    }
    if argument.get_action().takes_values() {
        let blank = if words.is_empty() { "" } else { " " };
        let value = argument.get_value_names().map(|names| names.join(" "));
        words.push(italic(format!("{blank}{}", value.unwrap_or_default())));
    }
    words.insert(0, roman(before));
    words.push(roman(after));
    words
}

/// A command under its own heading: what it does, and its options.
fn describe(name: &str, command: Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut roff = Roff::new();
    roff.control("SS", [format!("{name} {}", command.get_name()).as_str()]);
    let about = command.get_long_about().or_else(|| command.get_about());
    roff.text([roman(format!("{}.", about.map(ToString::to_string).unwrap_or_default()))]);
    roff.to_writer(page)?;
    let mut options = Vec::new();
    Man::new(command).render_options_section(&mut options)?;
    // The library gives the options a heading of the page; here they stand under that of the command.
    let options = String::from_utf8_lossy(&options);
    let lines = options.split_inclusive('\n').filter(|line| !line.starts_with(".SH "));
    page.extend(lines.flat_map(str::bytes));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ArgAction;

    #[test]
    fn a_choice_that_has_to_be_made_stands_in_braces() {
        let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
        let command = Command::new("decide")
            .arg(Arg::new("id").value_name("ID").required(true))
            .arg(flag("yes"))
            .arg(Arg::new("answer").long("answer").value_name("FILE"))
            .arg(flag("aloud"))
            .group(ArgGroup::new("what").args(["yes", "answer"]).required(true));
        let lines = synopsis("program", &[command]).to_roff();
        let plain = ["\\fB", "\\fI", "\\fR", "\\"].iter().fold(lines, |text, word| text.replace(word, ""));
        assert!(plain.contains("program decide {--yes|--answer FILE} [--aloud] ID"), "{plain}");
    }
}
