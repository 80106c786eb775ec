//! Which sections and keys there are, and how a misspelt one is told from a foreign one.
//! Imports nothing of ours.

/// A section and its keys, in the order in which they are taught.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) section: &'static str,
    /// Written `[[section]]`, as often as needed.
    pub(super) is_list: bool,
    pub(super) keys: &'static [&'static str],
}

impl Entry {
    /// The section as its header is written.
    pub(super) fn header(&self) -> String {
        if self.is_list { format!("[[{}]]", self.section) } else { format!("[{}]", self.section) }
    }
}

const fn one(section: &'static str, keys: &'static [&'static str]) -> Entry {
    Entry { section, is_list: false, keys }
}

const fn list(section: &'static str, keys: &'static [&'static str]) -> Entry {
    Entry { section, is_list: true, keys }
}

pub(super) static STORE: Entry = one("store", &["path"]);
pub(super) static LOG: Entry = one("log", &["level", "format"]);
pub(super) static REFRESH: Entry = one(
    "refresh",
    &[
        "before_expiry",
        "jitter",
        "timeout",
        "max_in_flight",
        "retry_first",
        "retry_max",
        "settle",
        "unprovable",
    ],
);
pub(super) static HTTP: Entry = one("http", &["proxy", "ca_file"]);
pub(super) static REFRESH_TOKEN: Entry = one("refresh_token", &["lifetime", "remind"]);
pub(super) static SCHEDULE: Entry =
    one("schedule", &["sweep", "heartbeat", "audit", "prune", "keep_history"]);
pub(super) static APP: Entry = list(
    "app",
    &[
        "id",
        "secret_key_file",
        "secret_key_credential",
        "token_url",
        "api_url",
        "redirect_uri",
        "permission_url",
        "code_verifier_file",
    ],
);
pub(super) static AUTHORIZE: Entry = one("authorize", &["listen", "allow_remote", "link_life"]);
pub(super) static VENDOR: Entry = list(
    "vendor",
    &[
        "id",
        "base_url",
        "api_key_file",
        "api_key_credential",
        "style",
        "renew_before",
        "lifetime",
        "link_hosts",
    ],
);
pub(super) static OA: Entry = list("oa", &["id", "app", "vendor", "name", "authorized_at"]);
pub(super) static API: Entry = one(
    "api",
    &["socket", "mode", "group", "listen", "allow_remote", "rate", "max_connections", "oa_metrics"],
);
pub(super) static ACCESS: Entry =
    list("access", &["user", "group", "uid", "gid", "token_file", "oas", "verbs"]);

pub(super) static PUBLISH: Entry = list(
    "publish",
    &[
        "oas",
        "file",
        "format",
        "mode",
        "owner",
        "group",
        "exec",
        "events",
        "token",
        "timeout",
        "webhook",
        "secret_file",
    ],
);

/// All sections, in the order in which they are taught.
pub(super) static SECTIONS: [&Entry; 13] = [
    &STORE,
    &LOG,
    &REFRESH,
    &HTTP,
    &REFRESH_TOKEN,
    &SCHEDULE,
    &APP,
    &VENDOR,
    &OA,
    &API,
    &ACCESS,
    &AUTHORIZE,
    &PUBLISH,
];

/// Names under which people write a secret into a config file.
const SECRET_KEYS: [&str; 14] = [
    "secret",
    "secret_key",
    "app_secret",
    "app_secret_key",
    "client_secret",
    "oa_secret_key",
    "token",
    "access_token",
    "refresh_token",
    "code",
    "code_verifier",
    "password",
    "api_key",
    "apikey",
];

/// Does a key of this name hold a secret of an app?
fn is_app_secret(key: &str) -> bool {
    key.contains("secret")
}

/// What to do with the secret that somebody wrote under this key; None when the name does not promise one.
pub(super) fn advice_for_secret(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase().replace('-', "_");
    if !SECRET_KEYS.contains(&key.as_str()) {
        None
    } else if is_app_secret(&key) {
        Some(
            "secrets are never written inline: put it alone into a file of mode 0600 and name that file with \
             `secret_key_file` in [[app]] (or `secret_key_credential` under systemd)",
        )
    } else if matches!(key.as_str(), "api_key" | "apikey") {
        Some(
            "secrets are never written inline: put it alone into a file of mode 0600 and name that file with \
             `api_key_file` in [[vendor]] (or `api_key_credential` under systemd)",
        )
    } else {
        Some(
            "secrets are never written inline: take the line out and hand the token response to \
             `zalo-tokend import OA_ID`",
        )
    }
}

/// Can this text be repeated in a message? Only what no token, secret or code looks like: a number, or a short
/// lower-case word with few digits.
pub(super) fn is_showable(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let is_number = digits == text.len() && text.len() <= 24;
    let is_word = text.len() <= 32
        && digits <= 4
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    !text.is_empty() && (is_number || is_word)
}

/// The one of `known` that was probably meant by `word`.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Longer than any of ours: not worth measuring, and perhaps a whole token.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    let measured = known.into_iter().map(|candidate| (distance(&word, candidate), candidate));
    let (distance, candidate) = measured.min_by_key(|(distance, _)| *distance)?;
    // A third of the letters may be wrong; more is another word.
    (distance <= candidate.len().max(3) / 3).then_some(candidate)
}

/// How many letters to put in, take out or replace to make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../config.example.toml");

    /// The lines of the example below the headers of this section, without what makes comments of them.
    fn taught(entry: &Entry) -> Vec<&'static str> {
        let mut is_of_it = false;
        let lines = EXAMPLE.lines().map(|line| line.trim_start_matches(['#', ' ']));
        lines
            .filter(|line| {
                if line.starts_with('[') {
                    is_of_it = *line == entry.header();
                }
                is_of_it
            })
            .collect()
    }

    #[test]
    fn the_example_teaches_every_key_in_its_section() {
        for entry in SECTIONS {
            let lines = taught(entry);
            for key in entry.keys {
                let is_there = lines.iter().any(|line| line.starts_with(&format!("{key} = ")));
                assert!(is_there, "config.example.toml does not teach {key} below {}", entry.header());
            }
        }
    }

    #[test]
    fn the_example_teaches_no_key_that_there_is_not() {
        for entry in SECTIONS {
            for line in taught(entry) {
                let word = line.split_once(" = ").map_or("", |(word, _)| word);
                let is_key = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                assert!(!is_key || entry.keys.contains(&word), "{}: {line}", entry.header());
            }
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_another_word_is_not() {
        let near = |word| nearest(word, REFRESH.keys.iter().copied());
        assert_eq!(near("timout"), Some("timeout"));
        assert_eq!(near("Retry-Max"), Some("retry_max"));
        assert_eq!(near("colour"), None);
        assert_eq!(near(&"t".repeat(70)), None);
    }

    #[test]
    fn nothing_that_looks_like_a_secret_is_showable() {
        assert!(is_showable("579745863508352884") && is_showable("oa-1") && is_showable("before_expiry"));
        for secret in
            ["UYnI9Ie1bTK3dXbMhsbe", "0123456789abcdef", "", "a b", &"1".repeat(25), &"a".repeat(33)]
        {
            assert!(!is_showable(secret), "{secret}");
        }
    }
}
