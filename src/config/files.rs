//! The files around a config: the config file itself, app secrets, CA certificates.
//!
//! Reads and judges them; that a message never holds any of their content is kept here.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::problems::Wrong;
use super::{Environment, Secrets};
use crate::secret::Secret;

/// The largest file of an app secret, in bytes: Zalo's have 20 characters.
const LARGEST_SECRET: u64 = 4 << 10;
/// The largest file of CA certificates, in bytes: a whole system's bundle has a quarter of a MiB.
const LARGEST_CA: u64 = 8 << 20;

/// What a config is read in.
pub(super) struct Around<'e> {
    pub(super) secrets: Secrets,
    pub(super) env: &'e Environment,
    /// Where relative paths start.
    base: PathBuf,
}

impl<'e> Around<'e> {
    pub(super) fn new(file: &Path, secrets: Secrets, env: &'e Environment) -> Around<'e> {
        let base = file.parent().unwrap_or(Path::new("/"));
        // The working directory may be gone; then relative stays relative.
        let base = std::path::absolute(if base.as_os_str().is_empty() { Path::new(".") } else { base })
            .unwrap_or_else(|_| base.to_owned());
        Around { secrets, env, base }
    }

    /// The path that is meant, absolute.
    pub(super) fn path(&self, text: &str) -> Result<PathBuf, Wrong> {
        let right = "write a path, whole or from the directory of the config file";
        if text.trim().is_empty() {
            return Err(Wrong::new("is empty", right));
        }
        if text.starts_with('~') || text.contains('$') {
            return Err(Wrong::new("has a ~ or $, which is not expanded here", "write the path out"));
        }
        if text.contains('\0') {
            return Err(Wrong::new("has a zero byte", right));
        }
        Ok(self.base.join(text))
    }

    /// The path that a credential of this name has under systemd.
    pub(super) fn credential(&self, name: &str) -> Result<PathBuf, Wrong> {
        let is_name = !matches!(name, "" | "." | "..") && name.len() <= 255;
        if !is_name || name.contains(['/', '\0']) {
            let right = "write the name that the unit's LoadCredential= gives it, without a path";
            return Err(Wrong::new("is no name of a credential", right));
        }
        match &self.env.credentials_directory {
            Some(directory) => Ok(directory.join(name)),
            None => Err(Wrong::new(
                "needs $CREDENTIALS_DIRECTORY, which is not set",
                "start it by systemd with LoadCredential=, or use `secret_key_file`",
            )),
        }
    }
}

/// The text of the config file.
pub(super) fn config_text(file: &Path, largest: u64) -> Result<String, Wrong> {
    let right = "name a config file with --config or $ZALO_TOKEND_CONFIG";
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(largest + 1).read_to_end(&mut bytes));
    read.map_err(|error| cannot(&error, right))?;
    if bytes.len() as u64 > largest {
        return Err(Wrong::new(format!("it is larger than {} MiB", largest >> 20), right));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        Wrong::new(format!("line {} is not UTF-8", line + 1), "save it as UTF-8 text")
    })
}

/// An app secret, and whether its file is open to more than those who need it.
pub(super) struct SecretFile {
    pub(super) secret: Secret,
    /// Others than the owner may read it, though the owner is not root, who would share it on purpose.
    pub(super) is_group_readable: bool,
}

/// Reads the file of an app secret.
pub(super) fn secret(path: &Path) -> Result<SecretFile, Wrong> {
    let (file, metadata) = open_regular(path, "name a file that holds the app's secret and nothing else")?;
    if metadata.mode() & 0o007 != 0 {
        let what =
            format!("names a file that every user of the machine may open (mode {:04o})", mode(&metadata));
        return Err(Wrong::new(what, "make it mode 0600, and consider the secret known: renew it at Zalo"));
    }
    let bytes = contents(file, LARGEST_SECRET)?;
    let is_group_readable = metadata.mode() & 0o040 != 0 && metadata.uid() != 0;
    Ok(SecretFile { secret: secret_of(bytes)?, is_group_readable })
}

/// The shortest secret that nobody guesses: 128 bits in hexadecimal digits.
const SHORTEST: usize = 32;

/// Reads the file of a secret that was made for this program, as whoever checks the config is to; `what` it is, is told.
pub(super) fn made_secret(path: &Path, what: &str, secrets: Secrets) -> Result<Option<Secret>, Wrong> {
    match secrets {
        Secrets::LeaveAlone => return Ok(None),
        Secrets::Read => {}
    }
    let made = secret(path)?.secret;
    if made.expose().len() < SHORTEST {
        let right = "make one of at least 32 characters: openssl rand -hex 32";
        return Err(Wrong::new(format!("names a file with a {what} that is easily guessed"), right));
    }
    Ok(Some(made))
}

fn mode(metadata: &std::fs::Metadata) -> u32 {
    metadata.mode() & 0o7777
}

/// The secret in the content of a file: one word, perhaps with a line break behind it.
fn secret_of(bytes: Vec<u8>) -> Result<Secret, Wrong> {
    let right = "the file holds the app's secret alone, on one line";
    let mut text =
        String::from_utf8(bytes).map_err(|_| Wrong::new("names a file that is not text", right))?;
    let length = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(&text).len();
    text.truncate(length);
    if text.is_empty() {
        return Err(Wrong::new("names a file that is empty", right));
    }
    if text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        return Err(Wrong::new("names a file with blanks or line breaks in the secret", right));
    }
    // It is sent as the value of an HTTP header.
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Wrong::new("names a file with bytes that no secret has", right));
    }
    Ok(Secret::new(text))
}

/// Looks whether a file can be one of CA certificates. They are parsed where the client is built.
pub(super) fn check_ca(path: &Path) -> Result<(), Wrong> {
    let right = "name a file of PEM certificates, or take the key out to use the system's";
    let (file, _) = open_regular(path, right)?;
    let bytes = contents(file, LARGEST_CA)?;
    let marker = b"-----BEGIN CERTIFICATE-----";
    if bytes.windows(marker.len()).any(|window| window == marker) {
        Ok(())
    } else {
        Err(Wrong::new("names a file without a PEM certificate", right))
    }
}

/// Opens a file that must be a regular one; never waits, as opening a pipe would.
fn open_regular(path: &Path, right: &str) -> Result<(File, std::fs::Metadata), Wrong> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let opened = opened.and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let (file, metadata) = opened.map_err(|error| names(cannot(&error, right)))?;
    if metadata.is_dir() {
        return Err(Wrong::new("names a directory", right));
    }
    if !metadata.is_file() {
        return Err(Wrong::new("names something that is no file", right));
    }
    Ok((file, metadata))
}

fn contents(file: File, largest: u64) -> Result<Vec<u8>, Wrong> {
    let mut bytes = Vec::new();
    file.take(largest + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| names(cannot(&error, "look at its disk")))?;
    if bytes.len() as u64 > largest {
        let what = format!("names a file that is larger than {} KiB", largest >> 10);
        return Err(Wrong::new(what, "name the right file"));
    }
    Ok(bytes)
}

fn names(wrong: Wrong) -> Wrong {
    Wrong { what: format!("names a file that cannot be read: {}", wrong.what), ..wrong }
}

fn cannot(error: &io::Error, right: &str) -> Wrong {
    #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum, and it has no end")]
    let (what, right) = match error.kind() {
        io::ErrorKind::NotFound => ("there is no such file".to_owned(), right),
        io::ErrorKind::IsADirectory => ("it is a directory".to_owned(), right),
        io::ErrorKind::NotADirectory => ("a part of its path is no directory".to_owned(), right),
        io::ErrorKind::PermissionDenied => (
            "permission denied".to_owned(),
            "run this as root or the daemon's user, or let that user read it",
        ),
        _ => (error.to_string(), right),
    };
    Wrong { what, right: right.to_owned(), not_permitted: error.kind() == io::ErrorKind::PermissionDenied }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_file_is_told_apart_from_a_missing_one() {
        assert!(cannot(&io::Error::from(io::ErrorKind::PermissionDenied), "x").not_permitted);
        assert!(!cannot(&io::Error::from(io::ErrorKind::NotFound), "x").not_permitted);
    }

    #[test]
    fn relative_paths_start_where_the_config_is() {
        let env = Environment::default();
        let around = |file| Around::new(Path::new(file), Secrets::Read, &env);
        assert_eq!(around("/etc/z/c.toml").path("a/b").expect("a path"), Path::new("/etc/z/a/b"));
        assert_eq!(around("/etc/z/c.toml").path("/a").expect("a path"), Path::new("/a"));
        let here = std::env::current_dir().expect("a directory");
        assert_eq!(around("c.toml").path("a").expect("a path"), here.join("a"));
        assert_eq!(around("x/c.toml").path("a").expect("a path"), here.join("x/a"));
    }
}
