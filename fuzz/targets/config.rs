//! The config file.

use std::path::Path;
use std::time::Duration;

use zalo_tokend::config::{Config, Difference, Environment, Problems, Secrets, parse};
use zalo_tokend::simulator::MARKER;

use super::assert_plain;

const FILE: &str = "/etc/zalo-tokend/config.toml";
const DAY: Duration = Duration::from_secs(86_400);

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match read(text) {
        Ok(config) => assert_accepted(&config, text),
        Err(problems) => assert_problems(&problems, text),
    }
}

/// Opens none of the files that it names.
fn read(text: &str) -> Result<Config, Problems> {
    parse(Path::new(FILE), text, Secrets::LeaveAlone, &Environment::default())
}

/// What is accepted can be worked with, and is within the bounds of the outward contract.
fn assert_accepted(config: &Config, text: &str) {
    assert_eq!(Ok(config), read(text).as_ref(), "accepted the second time as the first");
    assert_eq!(Difference::between(config, config), Difference::default());
    config.warnings().iter().for_each(|warning| assert!(!warning.is_empty()));
    assert!(!format!("{config:?}").contains(&format!(":{MARKER}")), "a proxy's password");
    let timing = &config.timing;
    let millis = Duration::from_millis;
    assert!(timing.jitter <= 30 * DAY && timing.before_expiry <= 30 * DAY);
    assert!(timing.before_expiry >= millis(1_000) && timing.max_in_flight >= 1);
    assert!((millis(1_000)..=millis(600_000)).contains(&config.timeout));
    for wait in [timing.retry_first, timing.retry_max, timing.settle] {
        assert!((millis(50)..=DAY).contains(&wait), "{wait:?}");
    }
    assert!(timing.retry_first <= timing.retry_max);
    assert!(config.remind.windows(2).all(|pair| pair[0] > pair[1]), "{:?}", config.remind);
    assert!(config.store_path.is_absolute());
    assert!(config.oas.values().all(|oa| config.apps.contains_key(&oa.app_id)), "an OA without its app");
    let urls = config.apps.values().flat_map(|app| [&app.token_url, &app.api_url]);
    for url in urls {
        assert!(matches!(url.scheme(), "https" | "http") && url.host().is_some(), "{url}");
        assert!(url.password().is_none() && url.username().is_empty(), "a user in a URL");
    }
}

/// Each problem says where, and repeats no secret that was written where one does not belong.
fn assert_problems(problems: &Problems, text: &str) {
    assert!(problems.len() > 0 && problems.iter().count() == problems.len());
    let has_only_secrets = text.lines().all(|line| !line.contains(MARKER) || is_secret(line));
    let lines = text.matches('\n').count() + 1;
    for problem in problems.iter() {
        let place = problem.strip_prefix(FILE).and_then(|rest| rest.strip_prefix(':'));
        let place = place.unwrap_or_else(|| panic!("no place: {problem}"));
        let line = place.split(':').next().and_then(|line| line.parse::<usize>().ok());
        assert!(line.is_none_or(|line| (1..=lines).contains(&line)), "no line of the file: {problem}");
        assert!(problem.contains("; "), "not what would be right: {problem}");
        if has_only_secrets {
            assert_plain(problem);
        }
    }
}

/// A line that sets a secret, and has it only in the value's text.
fn is_secret(line: &str) -> bool {
    let is_name =
        |key: &str| matches!(key.trim(), "secret_key" | "secret" | "access_token" | "refresh_token");
    let Some((key, value)) = line.split_once('=') else { return false };
    let value = value.trim();
    let text = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    is_name(key) && text.is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}
