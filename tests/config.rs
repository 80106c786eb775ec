//! The config file, as an operator meets it: what is accepted, and how a mistake is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;
use zalo_tokend::config::{self, Config, Environment, LogFormat, Problems, Secrets};
use zalo_tokend::rotation::timing::{Timing, Unprovable};

const EXAMPLE: &str = include_str!("../config.example.toml");
const SECRET: &str = "CANARYsecretOfTheApp";
const DAY: Duration = Duration::from_secs(86_400);

/// A directory with a good secret file, in which configs are parsed.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().expect("a directory"));
        place.file("app.secret", &format!("{SECRET}\n"), 0o600);
        place
    }

    fn file(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        path
    }

    fn parse_in(&self, text: &str, secrets: Secrets, env: &Environment) -> Result<Config, Problems> {
        config::parse(&self.0.path().join("config.toml"), text, secrets, env)
    }

    fn parse(&self, text: &str) -> Result<Config, Problems> {
        self.parse_in(text, Secrets::Read, &Environment::default())
    }

    fn accepted(&self, text: &str) -> Config {
        self.parse(text).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
    }

    /// The problems of this text, without the file's name: `LINE:COL: what; what would be right`.
    fn problems(&self, text: &str) -> Vec<String> {
        let Err(problems) = self.parse(text) else { panic!("accepted:\n{text}") };
        let prefix = format!("{}:", self.0.path().join("config.toml").display());
        let short = |line: String| line.strip_prefix(&prefix).map(str::to_owned).unwrap_or(line);
        Vec::from(problems).into_iter().map(short).collect()
    }

    /// The example, with a secret file that is there.
    fn example(&self) -> String {
        // And with a group that every machine has.
        EXAMPLE
            .replace("/etc/zalo-tokend/app.secret", "app.secret")
            .replace("\"zalo-tokend-clients\"", "\"root\"")
    }
}

/// A row: a text with one mistake, where it is told, and words of the message.
type Row<'a> = (&'a str, &'a str, &'a str);

fn check_rows(rows: &[Row<'_>]) {
    let place = Place::new();
    for (text, position, phrase) in rows {
        let problems = place.problems(text);
        assert_eq!(problems.len(), 1, "{text}\n{problems:#?}");
        assert!(problems[0].starts_with(&format!("{position}: ")), "{text}\n{position}\n{problems:#?}");
        assert!(problems[0].contains(phrase), "{text}\n{phrase}\n{problems:#?}");
        assert!(problems[0].contains("; "), "says what would be right: {problems:#?}");
    }
}

/// An app and an OA of it, which leave only the mistake of a row; they take the lines 1 to 6.
const FLEET: &str =
    "[[app]]\nid = \"12\"\nsecret_key_file = \"app.secret\"\n[[oa]]\nid = \"34\"\napp = \"12\"\n";

#[test]
fn an_empty_file_is_valid_and_has_the_defaults() {
    let config = Place::new().accepted("");
    assert_eq!(config.store_path, Path::new("/var/lib/zalo-tokend/tokens.db"));
    assert_eq!(config.log.level, "info");
    assert_eq!(config.log.format, None);
    assert_eq!(config.timing, Timing::default());
    assert_eq!(config.timeout, Duration::from_secs(60));
    assert_eq!(config.timing.max_in_flight, 8);
    assert_eq!(config.http.proxy, None);
    assert_eq!(config.http.ca_file, None);
    assert_eq!(config.remind, [30, 14, 7, 3, 1].map(|days| days * DAY));
    assert_eq!(config.schedule.sweep, "* * * * * *");
    assert_eq!(config.schedule.heartbeat, "0 0 * * * *");
    assert_eq!(config.schedule.audit, "0 7 * * * *");
    assert_eq!(config.schedule.prune, "0 30 20 * * *");
    assert_eq!(config.schedule.keep_history, 180 * DAY);
    assert!(config.apps.is_empty() && config.oas.is_empty());
}

#[test]
fn every_key_is_taken_over() {
    let place = Place::new();
    let ca = place.file("ca.pem", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", 0o644);
    let config = place.accepted(
        r#"
        store.path = "state/t.db"
        log = { level = "info,zalo_tokend=debug", format = "text" }
        [refresh]
        before_expiry = "1h 30m"
        jitter = "0s"
        timeout = "10m"
        max_in_flight = 256
        retry_first = "50ms"
        retry_max = "50ms"
        settle = "1d"
        unprovable = "present"
        [http]
        proxy = "http://user:CANARY@10.0.0.1:3128"
        ca_file = "ca.pem"
        [refresh_token]
        lifetime = "3months"
        remind = ["1d", "10d", "2h"]
        [schedule]
        sweep = "*/5 * * * * *"
        heartbeat = " 0 0 8 * * MON-FRI "
        audit = "0 7 3 13 * FRI"
        prune = "0 0 0 29 2 *"
        keep_history = "2years"
        [[app]]
        id = "12"
        secret_key_file = "app.secret"
        token_url = "http://127.0.0.1:9000/token"
        api_url = "http://[::1]:9000/api/"
        [[oa]]
        id = "shop_A-1"
        app = "12"
        name = "Cửa hàng A"
        "#,
    );
    assert_eq!(config.store_path, place.0.path().join("state/t.db"));
    assert_eq!(config.log.level, "info,zalo_tokend=debug");
    assert_eq!(config.log.format, Some(LogFormat::Text));
    assert_eq!(config.timing.before_expiry, Duration::from_secs(5_400));
    assert_eq!(config.timing.jitter, Duration::ZERO);
    assert_eq!(config.timing.retry_first, Duration::from_millis(50));
    assert_eq!(config.timing.retry_max, Duration::from_millis(50));
    assert_eq!(config.timing.settle, DAY);
    assert_eq!(config.timing.unprovable, Unprovable::Present);
    assert_eq!(config.timeout, Duration::from_secs(600));
    assert_eq!(config.timing.max_in_flight, 256);
    assert_eq!(config.http.proxy.as_ref().and_then(|url| url.password()), Some("CANARY"));
    assert_eq!(config.http.ca_file, Some(ca));
    assert_eq!(config.remind, [10 * DAY, DAY, DAY / 12]);
    assert_eq!(config.schedule.sweep, "*/5 * * * * *");
    assert_eq!(config.schedule.heartbeat, "0 0 8 * * MON-FRI");
    let app = config.apps.values().next().expect("an app");
    assert_eq!(app.secret_key.as_ref().map(|secret| secret.expose()), Some(SECRET));
    assert_eq!(app.token_url.as_str(), "http://127.0.0.1:9000/token");
    assert_eq!(app.api_url.as_str(), "http://[::1]:9000/api");
    let (oa_id, oa) = config.oas.iter().next().expect("an OA");
    assert_eq!((oa_id.as_str(), oa.app_id.as_str()), ("shop_A-1", "12"));
    assert_eq!(oa.name.as_deref(), Some("Cửa hàng A"));
    assert!(!format!("{config:?}").contains("CANARY"));
}

#[test]
fn the_example_loads_as_it_stands() {
    let place = Place::new();
    let config = place.accepted(&place.example());
    assert_eq!((config.apps.len(), config.oas.len()), (1, 1));
    assert_eq!(config.warnings(), Vec::<String>::new());
}

#[test]
fn the_defaults_that_the_example_teaches_are_the_defaults() {
    let place = Place::new();
    let without_default = ["#secret_key_credential", "#proxy", "#ca_file", "#listen", "#code_verifier_file"];
    // The one without a default on which a default depends.
    let example = place.example().replace("#redirect_uri", "redirect_uri");
    // A section that begins with "#[[" is an example as a whole.
    let mut is_example = false;
    let uncommented: Vec<String> = example
        .lines()
        .filter(|line| {
            is_example = line.starts_with("#[[") || is_example && line.starts_with('#');
            !is_example
        })
        .map(|line| match line.strip_prefix('#') {
            Some(bare)
                if bare.starts_with(char::is_alphabetic)
                    && !without_default.iter().any(|key| line.starts_with(key)) =>
            {
                bare.to_owned()
            }
            Some(_) | None => line.to_owned(),
        })
        .collect();
    let mut taught = place.accepted(&uncommented.join("\n"));
    // The form of the log has a default that depends on where it goes.
    assert_eq!(taught.log.format.take(), Some(LogFormat::Json));
    assert_eq!(taught, place.accepted(&example));
}

#[test]
fn text_that_is_no_toml_is_told_with_its_place() {
    check_rows(&[
        ("[refresh]\ntimeout = 60s\n", "2:11", "literal"),
        ("[refresh]\ntimeout = \"60s\n", "2:15", "invalid basic string"),
        ("[refresh\ntimeout = \"60s\"\n", "1:9", "unclosed table"),
        ("[refresh]\ntimeout\n", "2:8", "key with no value"),
        ("[refresh]\ntimeout = \"60s\"\ntimeout = \"61s\"\n", "3:1", "duplicate key"),
        ("[refresh]\n[log]\n[refresh]\n", "3:2", "duplicate key"),
        ("[[oa]]\nname = \"á\" \"b\"\n", "2:12", "unexpected"),
    ]);
}

#[test]
fn several_lines_that_are_no_toml_are_told_together_with_what_else_is_wrong() {
    let text = "[refresh]\ntimeout = 60s\njitter = \"x\"\nsettle = = \"1s\"\ncolour = 1\n";
    let problems = Place::new().problems(text);
    let places: Vec<&str> = problems.iter().map(|line| &line[..4]).collect();
    assert_eq!(places, ["2:11", "3:10", "4:10", "5:1:"], "{problems:#?}");
}

#[test]
fn unknown_keys_and_sections_are_told_with_what_was_meant() {
    check_rows(&[
        ("[refresh]\ntimout = \"60s\"\n", "2:1", "did you mean `timeout`?"),
        ("[refresh]\nretry-max = \"60s\"\n", "2:1", "did you mean `retry_max`?"),
        (
            "[refresh]\ncolour = \"red\"\n",
            "2:1",
            "unknown key `colour` in [refresh]; its keys are before_expiry",
        ),
        ("[log]\n  timeout = \"60s\"\n", "2:3", "it belongs below [refresh]"),
        ("timeout = \"60s\"\n", "1:1", "it belongs below [refresh]"),
        ("colour = \"60s\"\n", "1:1", "the key `colour` stands outside all sections"),
        ("[refesh]\n", "1:2", "unknown section `refesh`; did you mean [refresh]?"),
        ("[[oas]]\n", "1:3", "did you mean [[oa]]?"),
        ("[extra]\nlisten = \"x\"\n", "1:2", "unknown section `extra`"),
        ("[[extras]]\n", "1:3", "unknown section `extras`"),
        ("[log.more]\n", "1:6", "unknown key `more` in [log]"),
    ]);
}

#[test]
fn values_of_the_wrong_type_are_told() {
    check_rows(&[
        ("refresh = 5\n", "1:11", "`refresh` is no section; write [refresh] once"),
        ("[[refresh]]\n", "1:1", "`refresh` is no section"),
        (&FLEET.replace("[[oa]]", "[oa]"), "4:1", "write [[oa]]"),
        ("oa = [1]\n", "1:7", "`oa` holds something else"),
        ("oa = 1\n", "1:6", "no list of sections"),
        (
            "[refresh]\ntimeout = 60\n",
            "2:11",
            "is a whole number, not text in quotes; write timeout = \"1m\"",
        ),
        ("[refresh]\nmax_in_flight = \"8\"\n", "2:17", "is text, not a whole number; 1 to 256"),
        ("[refresh]\nmax_in_flight = 1.5\n", "2:17", "is a number, not a whole number"),
        ("[refresh]\nmax_in_flight = 0\n", "2:17", "1 to 256"),
        ("[refresh]\nmax_in_flight = 257\n", "2:17", "1 to 256"),
        ("[refresh]\nmax_in_flight = 99999999999999999999999\n", "2:17", "1 to 256"),
        ("[refresh_token]\nremind = \"1d\"\n", "2:10", "is text, not a list"),
        ("[refresh_token]\nremind = [\"1d\", 2]\n", "2:17", "is a whole number, not text"),
        ("[log]\nlevel = true\n", "2:9", "is true or false, not text"),
        ("[log]\nlevel = 2026-11-22\n", "2:9", "is a date or time"),
        ("[log]\nformat = [\"json\"]\n", "2:10", "is a list"),
        ("[log]\nformat = \"jsn\"\n", "2:10", "did you mean \"json\"?"),
        ("[refresh]\nunprovable = \"panic\"\n", "2:14", "write \"hold\" or \"present\""),
    ]);
}

#[test]
fn durations_are_understood_and_kept_within_their_bounds() {
    check_rows(&[
        ("[refresh]\ntimeout = \"\"\n", "2:11", "value was empty"),
        ("[refresh]\ntimeout = \"60\"\n", "2:11", "time unit needed, for example 60sec"),
        ("[refresh]\ntimeout = \"-1s\"\n", "2:11", "expected number at 0"),
        ("[refresh]\ntimeout = \"5 parsecs\"\n", "2:11", "unknown time unit \"parsecs\""),
        ("[refresh]\ntimeout = \"999ms\"\n", "2:11", "`timeout` is 999ms, which is too short; 1s to 10m"),
        ("[refresh]\ntimeout = \"1M\"\n", "2:11", "M is months, m is minutes"),
        ("[refresh]\nbefore_expiry = \"0s\"\n", "2:17", "too short; 1s to 30d"),
        ("[refresh]\nbefore_expiry = \"31d\"\n", "2:17", "31d, which is too long"),
        ("[refresh]\njitter = \"1000000y\"\n", "2:10", "too long; 0s to 30d"),
        ("[refresh]\njitter = \"99999999999999999999y\"\n", "2:10", "too large"),
        ("[refresh]\nretry_first = \"49ms\"\n", "2:15", "50ms to 1d is accepted"),
        ("[refresh]\nretry_max = \"25h\"\n", "2:13", "50ms to 1d is accepted"),
        ("[refresh]\nsettle = \"2d\"\n", "2:10", "50ms to 1d is accepted"),
        (
            "[refresh]\nretry_first = \"11m\"\n",
            "2:15",
            "`retry_first` (11m) is longer than `retry_max` (10m)",
        ),
        ("[refresh]\nretry_max = \"1s\"\n", "2:13", "`retry_first` (5s) is longer than `retry_max` (1s)"),
        ("[refresh]\nretry_max = \"x\"\nretry_first = \"20m\"\n", "2:13", "is no duration"),
        ("[refresh]\nretry_max = \"1s\"\nretry_first = \"2s\"\n", "3:15", "longer than `retry_max` (1s)"),
        ("[refresh_token]\nlifetime = \"0s\"\n", "2:12", "1s to 3650d is accepted"),
        ("[refresh_token]\nremind = [\"1d\", \"24h\"]\n", "2:17", "`remind` has 1d twice"),
        ("[refresh_token]\nremind = [\"1d\", \"11y\"]\n", "2:17", "too long"),
        ("[schedule]\nkeep_history = \"11y\"\n", "2:16", "too long"),
    ]);
}

#[test]
fn cron_expressions_have_six_fields_and_a_next_time() {
    check_rows(&[
        ("[schedule]\nsweep = \"* * * * *\"\n", "2:9", "the seconds come first"),
        ("[schedule]\nsweep = \"\"\n", "2:9", "has 0 fields"),
        ("[schedule]\nsweep = \"@daily\"\n", "2:9", "has 1 fields"),
        ("[schedule]\nsweep = \"* * * * * * 2020\"\n", "2:9", "has 7 fields"),
        ("[schedule]\naudit = \"60 * * * * *\"\n", "2:9", "is no cron expression: "),
        ("[schedule]\naudit = \"* * * * * MOO\"\n", "2:9", "is no cron expression"),
        ("[schedule]\naudit = \"* * * * * ü\"\n", "2:9", "is no cron expression"),
        ("[schedule]\nprune = \"0 0 0 30 2 *\"\n", "2:9", "`prune` never comes"),
        ("[schedule]\nheartbeat = 5\n", "2:13", "write heartbeat = \"0 0 * * * *\""),
    ]);
}

#[test]
fn log_levels_are_checked_as_filters() {
    check_rows(&[
        ("[log]\nlevel = \"infoo\"\n", "2:9", "a level that there is not"),
        ("[log]\nlevel = \"\"\n", "2:9", "is empty"),
        ("[log]\nlevel = \"zalo_tokend=loud\"\n", "2:9", "is no log filter"),
        ("[log]\nlevel = \" 0ﬀ=\"\n", "2:9", "is no log filter"),
        ("[log]\nlevel = \"info,wran\"\n", "2:9", "a level that there is not"),
    ]);
    for level in ["error", "WARN", "off", "trace", "warn,zalo_tokend::store=debug", "[{oa_id=1}]=debug"] {
        Place::new().accepted(&format!("[log]\nlevel = \"{level}\"\n"));
    }
}

#[test]
fn http_is_for_this_machine_only() {
    let app = |line: &str| FLEET.replace("[[oa]]", &format!("{line}\n[[oa]]"));
    let rows = [
        ("token_url = \"http://oauth.zaloapp.com/\"", "4:13", "http:// to another host"),
        ("token_url = \"http://127.0.0.1.evil.com/\"", "4:13", "http:// to another host"),
        ("api_url = \"http://10.0.0.1/\"", "4:11", "http:// to another host"),
        ("token_url = \"ftp://localhost/\"", "4:13", "neither https:// nor http://"),
        ("token_url = \"oauth.zaloapp.com\"", "4:13", "is no URL"),
        ("token_url = \"https://\"", "4:13", "is no URL"),
        ("token_url = \"https://me@host/\"", "4:13", "a user or password"),
        ("token_url = \"https://:x@host/\"", "4:13", "a user or password"),
        ("api_url = \"https://host/?a=b\"", "4:11", "a query"),
        ("api_url = \"https://host/#a\"", "4:11", "a fragment"),
    ];
    for (line, position, phrase) in rows {
        check_rows(&[(&app(line), position, phrase)]);
    }
    for host in ["127.0.0.1", "127.255.0.9:80", "[::1]:1", "localhost:9000", "LOCALHOST"] {
        Place::new().accepted(&app(&format!("token_url = \"http://{host}/x\"")));
    }
    check_rows(&[
        ("[http]\nproxy = \"socks5://10.0.0.1:1\"\n", "2:9", "neither http:// nor https://"),
        ("[http]\nproxy = \"10.0.0.1:3128\"\n", "2:9", "is no URL"),
        ("[http]\nproxy = \"http://10.0.0.1:3128/x\"\n", "2:9", "a path"),
    ]);
}

#[test]
fn ids_are_text_and_stand_once() {
    check_rows(&[
        ("[[oa]]\nid = \"1\"\n", "1:1", "this [[oa]] has no `app`"),
        ("[[app]]\nsecret_key_file = \"app.secret\"\n", "1:1", "this [[app]] has no `id`"),
        ("[[oa]]\nid = \"1\"\napp = \"2\"\n", "3:7", "no [[app]] with the id 2"),
        (&FLEET.replace("app = \"12\"", "app = \"13\""), "6:7", "did you mean \"12\"?"),
        (
            &FLEET.replace("\"34\"", "579745863508352884"),
            "5:6",
            "put it in quotes: id = \"579745863508352884\"",
        ),
        (&FLEET.replace("id = \"12\"", "id = 12"), "2:6", "put it in quotes: id = \"12\""),
        (&FLEET.replace("app = \"12\"", "app = 12"), "6:7", "put it in quotes: app = \"12\""),
        (&FLEET.replace("\"34\"", "\"\""), "5:6", "`id` is empty; an id is 1 to 64 characters of A-Z"),
        (&FLEET.replace("\"34\"", "\"3 4\""), "5:6", "a character that no id has"),
        (&FLEET.replace("\"34\"", "\"٣\""), "5:6", "a character that no id has"),
        (&FLEET.replace("\"34\"", &format!("\"{}\"", "1".repeat(65))), "5:6", "longer than an id is"),
        (
            &format!("{FLEET}[[oa]]\nid = \"34\"\napp = \"12\"\n"),
            "8:6",
            "the OA 34 is here a second time; it stands in line 5",
        ),
        (
            &format!("{FLEET}[[app]]\nid = \"12\"\nsecret_key_file = \"app.secret\"\n"),
            "8:6",
            "the app 12 is here a second time; it stands in line 2",
        ),
        (&format!("{FLEET}name = \"\"\n"), "7:8", "`name` is empty"),
        (&format!("{FLEET}name = \"a\\nb\"\n"), "7:8", "a control character"),
        (&format!("{FLEET}name = \"{}\"\n", "a".repeat(129)), "7:8", "too long"),
    ]);
}

/// A vendor and an OA of his; they take the lines 1 to 7.
const AT_A_VENDOR: &str = "[[vendor]]\nid = \"v\"\nbase_url = \"https://v.example/x/\"\napi_key_file = \"app.secret\"\n\
     [[oa]]\nid = \"34\"\nvendor = \"v\"\n";

#[test]
fn a_vendor_and_his_oas_are_taken_over() {
    use zalo_tokend::vendor::{Style, Terms};
    let place = Place::new();
    let config = place
        .accepted(&format!("{AT_A_VENDOR}name = \"B\"\nauthorized_at = \"2026-09-01T08:00:00+07:00\"\n"));
    let vendor = config.vendors.values().next().expect("a vendor");
    assert_eq!((vendor.id.as_str(), vendor.base_url.as_str()), ("v", "https://v.example/x"));
    assert_eq!(vendor.api_key.as_ref().map(|key| key.expose()), Some(SECRET));
    let terms = Terms { style: Style::Interits, renew_before: 14 * DAY, lifetime: 90 * DAY };
    assert_eq!(vendor.terms, terms);
    let hosts: Vec<&str> = vendor.link_hosts.iter().map(String::as_str).collect();
    assert_eq!(hosts, ["id.zalo.me", "oauth.zaloapp.com", "v.example"]);
    let (oa_id, oa) = config.vendor_oas.iter().next().expect("an OA");
    assert_eq!((oa_id.as_str(), oa.vendor_id.as_str(), oa.name.as_deref()), ("34", "v", Some("B")));
    assert_eq!(oa.authorized_at.map(|at| at.to_string()).as_deref(), Some("2026-09-01T01:00:00Z"));
    assert!(config.oas.is_empty() && config.warnings().is_empty(), "{:?}", config.warnings());

    let more = "style = \"sencloud\"\nrenew_before = \"1s\"\nlifetime = \"3s\"\nlink_hosts = [\"A.Example\"]\n[[oa]]";
    let config = place.accepted(&AT_A_VENDOR.replace("[[oa]]", more));
    let vendor = config.vendors.values().next().expect("a vendor");
    let second = Duration::from_secs(1);
    assert_eq!(vendor.terms, Terms { style: Style::Sencloud, renew_before: second, lifetime: 3 * second });
    assert_eq!(vendor.link_hosts.iter().next().map(String::as_str), Some("a.example"));
    assert_eq!(config.warnings().len(), 2, "{:?}", config.warnings());
}

#[test]
fn mistakes_about_vendors_are_told() {
    let with = |old: &str, new: &str| AT_A_VENDOR.replace(old, new);
    check_rows(&[
        (
            &format!("{FLEET}{}", with("vendor = \"v\"", "app = \"12\"\nvendor = \"v\"").replace("34", "35")),
            "14:10",
            "`app` and `vendor` are both here",
        ),
        (&with("vendor = \"v\"\n", ""), "5:1", "this [[oa]] has no `app`; add app = \"…\", or vendor"),
        (&with("vendor = \"v\"", "vendor = \"w\""), "7:10", "no [[vendor]] with the id w"),
        (
            &with("vendor = \"v\"", "vendor = \"v\"\nauthorized_at = \"yesterday\""),
            "8:17",
            "no point in time",
        ),
        (
            &with("vendor = \"v\"", "vendor = \"v\"\nauthorized_at = 2026-09-01T08:00:00Z"),
            "8:17",
            "is a date or time, not text",
        ),
        (&format!("{FLEET}authorized_at = \"2026-09-01T08:00:00Z\"\n"), "7:17", "means nothing beside `app`"),
        (&format!("{FLEET}{AT_A_VENDOR}"), "12:6", "the OA 34 is here a second time; it stands in line 5"),
        (
            &format!("{AT_A_VENDOR}{}", with("[[oa]]\nid = \"34\"\nvendor = \"v\"\n", "")),
            "9:6",
            "the vendor v is here a second time",
        ),
        (&with("base_url = \"https://v.example/x/\"\n", ""), "1:1", "this [[vendor]] has no `base_url`"),
        (&with("https://v", "http://v"), "3:12", "is http:// to another host"),
        (&with("https://v", "https://u:p@v"), "3:12", "a user or password"),
        (&with("api_key_file = \"app.secret\"\n", ""), "1:1", "this [[vendor]] names no secret"),
        (
            &with("api_key_file = \"app.secret\"", "api_key_file = \"a\"\napi_key_credential = \"b\""),
            "5:22",
            "are both here",
        ),
        (&with("app.secret", "not-there"), "4:16", "there is no such file"),
        (&with("[[oa]]", "style = \"interit\"\n[[oa]]"), "5:9", "did you mean \"interits\"?"),
        (&with("[[oa]]", "renew_before = \"0s\"\n[[oa]]"), "5:16", "too short"),
        (&with("[[oa]]", "lifetime = \"4000d\"\n[[oa]]"), "5:12", "too long"),
        (&with("[[oa]]", "link_hosts = [\"https://a.example\"]\n[[oa]]"), "5:15", "names no host"),
        (&with("[[oa]]", "link_hosts = [\"a.example:8443\"]\n[[oa]]"), "5:15", "names no host"),
        (&with("[[oa]]", "link_hosts = \"a.example\"\n[[oa]]"), "5:14", "not a list"),
    ]);
}

#[test]
fn a_mistake_in_an_app_is_not_told_again_at_its_oas() {
    check_rows(&[
        (&FLEET.replace("id = \"12\"\n", ""), "1:1", "has no `id`"),
        (&FLEET.replace("secret_key_file = \"app.secret\"\n", ""), "1:1", "names no secret"),
        (&FLEET.replace("id = \"12\"\nsec", "id = \"1 2\"\nsec"), "2:6", "a character that no id has"),
    ]);
}

#[test]
fn a_secret_is_named_in_exactly_one_way() {
    let with = |line: &str| FLEET.replace("secret_key_file = \"app.secret\"", line);
    check_rows(&[
        (&with("secret_key_file = \"a\"\nsecret_key_credential = \"b\""), "4:25", "are both here"),
        (&with("secret_key_credential = \"b\"\nsecret_key_file = \"a\""), "4:19", "are both here"),
        (&with("secret_key_credential = \"b\""), "3:25", "$CREDENTIALS_DIRECTORY, which is not set"),
        (&with("secret_key_credential = \"../b\""), "3:25", "is no name of a credential"),
        (&with("secret_key_credential = \"..\""), "3:25", "is no name of a credential"),
        (&with("secret_key_credential = \"\""), "3:25", "is no name of a credential"),
        (&with("secret_key_file = \"\""), "3:19", "is empty"),
        (&with("secret_key_file = \"~/x\""), "3:19", "not expanded"),
        (&with("secret_key_file = 5"), "3:19", "is a whole number, not text"),
    ]);
}

#[test]
fn a_credential_is_read_from_the_directory_of_systemd() {
    let place = Place::new();
    let credentials = tempfile::tempdir().expect("a directory");
    fs::write(credentials.path().join("zalo"), "fromSystemd\r\n").expect("written");
    fs::set_permissions(credentials.path().join("zalo"), fs::Permissions::from_mode(0o440)).expect("a mode");
    let env = Environment {
        state_directory: Some(PathBuf::from("/srv/state")),
        credentials_directory: Some(credentials.path().to_owned()),
        ..Environment::default()
    };
    let text = FLEET.replace("secret_key_file = \"app.secret\"", "secret_key_credential = \"zalo\"");
    let config = place.parse_in(&text, Secrets::Read, &env).expect("valid");
    let app = config.apps.values().next().expect("an app");
    assert_eq!(app.secret_key.as_ref().map(|secret| secret.expose()), Some("fromSystemd"));
    assert_eq!(config.store_path, Path::new("/srv/state/tokens.db"));
}

#[test]
fn who_needs_no_secret_is_not_asked_for_one() {
    let place = Place::new();
    let env = Environment::default();
    let file = FLEET.replace("app.secret", "not-there");
    let credential = FLEET.replace("secret_key_file = \"app.secret\"", "secret_key_credential = \"zalo\"");
    let ca = format!("{FLEET}[http]\nca_file = \"not-there\"\n");
    for text in [file, credential, ca] {
        let config = place.parse_in(&text, Secrets::LeaveAlone, &env).expect("valid");
        assert!(config.apps.values().all(|app| app.secret_key.is_none()));
        assert!(place.parse(&text).is_err());
    }
}

#[test]
fn a_bad_secret_file_is_told_without_its_content() {
    let place = Place::new();
    place.file("empty", "", 0o600);
    place.file("newline", "\n", 0o600);
    place.file("open", SECRET, 0o604);
    place.file("two-lines", &format!("{SECRET}\n{SECRET}\n"), 0o600);
    place.file("two-newlines", &format!("{SECRET}\n\n"), 0o600);
    place.file("blank", &format!("{SECRET} x"), 0o600);
    place.file("control", &format!("{SECRET}\u{7f}"), 0o600);
    place.file("not-ascii", &format!("{SECRET}é"), 0o600);
    place.file("large", &SECRET.repeat(300), 0o600);
    fs::create_dir(place.0.path().join("directory")).expect("made");
    fs::write(place.0.path().join("not-text"), [0xff, 0xfe]).expect("written");
    fs::set_permissions(place.0.path().join("not-text"), fs::Permissions::from_mode(0o600)).expect("a mode");
    let rows = [
        ("missing", "there is no such file"),
        ("app.secret/x", "a part of its path is no directory"),
        ("directory", "names a directory"),
        ("/dev/null", "names something that is no file"),
        ("empty", "names a file that is empty"),
        ("newline", "names a file that is empty"),
        ("open", "every user of the machine may open (mode 0604)"),
        ("two-lines", "blanks or line breaks"),
        ("two-newlines", "blanks or line breaks"),
        ("blank", "blanks or line breaks"),
        ("control", "bytes that no secret has"),
        ("not-ascii", "bytes that no secret has"),
        ("not-text", "a file that is not text"),
        ("large", "larger than 4 KiB"),
    ];
    for (name, phrase) in rows {
        let text = FLEET.replace("app.secret", name);
        check_in(&place, &text, "3:19", phrase);
    }
    place.file("no-pem", SECRET, 0o600);
    for (name, phrase) in
        [("no-pem", "without a PEM certificate"), ("none", "no such file"), ("directory", "directory")]
    {
        check_in(&place, &format!("[http]\nca_file = \"{name}\"\n"), "2:11", phrase);
    }
    check_in(&place, "[store]\npath = \"directory\"\n", "2:8", "name the file in it as well");
}

fn check_in(place: &Place, text: &str, position: &str, phrase: &str) {
    let problems = place.problems(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].starts_with(&format!("{position}: ")), "{problems:#?}");
    assert!(problems[0].contains(phrase), "{phrase}: {problems:#?}");
    assert!(!problems[0].contains("CANARY"), "{problems:#?}");
}

#[test]
fn secrets_written_inline_are_refused_with_the_right_place_for_them() {
    let app = |key: &str| FLEET.replace("[[oa]]", &format!("{key} = \"{SECRET}\"\n[[oa]]"));
    check_rows(&[
        (&app("secret_key"), "4:1", "never written inline: put it alone into a file"),
        (&app("app_secret"), "4:1", "`secret_key_file`"),
        (&format!("{FLEET}refresh_token = \"{SECRET}\"\n"), "7:1", "zalo-tokend import OA_ID"),
        (&format!("{FLEET}access-token = \"{SECRET}\"\n"), "7:1", "zalo-tokend import OA_ID"),
        (
            &format!(
                "{FLEET}[[vendor]]\napi_key = \"{SECRET}\"\nid = \"v\"\nbase_url = \"https://v.example\"\napi_key_file = \"app.secret\"\n"
            ),
            "8:1",
            "`api_key_file` in [[vendor]]",
        ),
        ("refresh_token = \"x\"\n", "1:17", "zalo-tokend import OA_ID"),
        ("secret_key = \"x\"\n", "1:1", "never written inline"),
    ]);
}

/// Zalo's app secrets and tokens look like this.
const CANARIES: [&str; 3] = [
    "CANARYnI9Ie1bTK3dXbM",
    "CANARY_TpY65HuTzwj-pLnjZrVmkq_2x8QoJcVvRk0Nw3bYtGd7uHs1aEfXy4iPz9LmOq6WrTn5",
    "CANARY with blanks; and = signs, [x] \u{e9}",
];

#[test]
fn no_message_repeats_a_secret_wherever_it_was_written() {
    let place = Place::new();
    let mut rejected = 0;
    for canary in CANARIES {
        for line in place.example().lines().map(|line| line.trim_start_matches('#').to_owned()) {
            let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains(' ')) else {
                continue;
            };
            let section = section_of(key);
            for value in [
                format!("\"{canary}\""),
                format!("'{canary}'"),
                canary.to_owned(),
                format!("[\"{canary}\"]"),
                format!("{{ {key} = \"{canary}\" }}"),
                format!("\"https://u:{canary}@host/?{canary}#{canary}\""),
                format!("\"http://{canary}/{canary}\""),
                format!("\"5{canary}\""),
                format!("\"* * * * * {canary}\""),
                format!("\"{canary}"),
            ] {
                let text = format!(
                    "{FLEET}{section}\n{key} = {value}\n\"{canary}\" = 1\n{canary} = 1\n[{canary}]\n"
                );
                match place.parse(&text) {
                    Ok(config) => panic!("accepted:\n{text}\n{config:?}"),
                    Err(problems) => {
                        rejected += 1;
                        let told = format!("{problems}\n{problems:?}");
                        assert!(!told.contains("CANARY") && !told.contains("canary"), "{text}\n{told}");
                    }
                }
            }
        }
    }
    assert!(rejected > 500, "{rejected}");
}

/// The header under which this key stands, for a fleet that has an app and an OA already.
fn section_of(key: &str) -> &'static str {
    match key {
        "path" => "[store]",
        "level" | "format" => "[log]",
        "proxy" | "ca_file" => "[http]",
        "lifetime" | "remind" => "[refresh_token]",
        "sweep" | "heartbeat" | "audit" | "prune" | "keep_history" => "[schedule]",
        "secret_key_file" | "secret_key_credential" | "token_url" | "api_url" => "[[app]]",
        "base_url" | "api_key_file" | "api_key_credential" | "style" | "renew_before" | "link_hosts" => {
            "[[vendor]]"
        }
        "id" | "app" | "name" | "vendor" | "authorized_at" => "[[oa]]",
        _ => "[refresh]",
    }
}

#[test]
fn every_problem_is_told_at_once_in_the_order_of_the_file() {
    let place = Place::new();
    let text = "[[oa]]\nid = 5\napp = \"9\"\n[schedule]\nsweep = \"* * *\"\n[refresh]\njitter = \"x\"\ntimeout = 5\n[extra]\n";
    let problems = place.parse(text).expect_err("wrong");
    let name = place.0.path().join("config.toml");
    assert_eq!(problems.len(), 6, "{problems}");
    assert_eq!(problems.to_string().lines().count(), 6);
    assert!(problems.iter().all(|line| line.starts_with(&format!("{}:", name.display()))));
    assert!(!problems.is_not_permitted());
    let places: Vec<String> = place.problems(text).iter().map(|line| line[..3].to_owned()).collect();
    assert_eq!(places, ["2:6", "3:7", "5:9", "7:1", "8:1", "9:2"]);
}

#[test]
fn columns_are_counted_in_characters() {
    check_rows(&[(
        "oa = [{ id = \"1\", name = \"đây là\", app = 'á' }]\n",
        "1:42",
        "a character that no id has",
    )]);
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let place = Place::new();
    let told = |path: &Path| {
        let problems = config::load(path, Secrets::Read).expect_err("unreadable");
        assert!(problems.to_string().starts_with(&format!("{}: ", path.display())), "{problems}");
        problems.to_string()
    };
    assert!(told(&place.0.path().join("missing")).contains("cannot be read: there is no such file; "));
    assert!(told(place.0.path()).contains("cannot be read: it is a directory; "));
    let latin = place.0.path().join("latin");
    fs::write(&latin, b"[log]\n# \xe9\n").expect("written");
    assert!(told(&latin).contains("line 2 is not UTF-8; "));
    let large = fs::File::create(place.0.path().join("large")).expect("made");
    large.set_len((16 << 20) + 1).expect("grown");
    assert!(told(&place.0.path().join("large")).contains("larger than 16 MiB"));
    let good = place.file("good.toml", FLEET, 0o644);
    assert_eq!(config::load(&good, Secrets::Read).expect("valid").file, good);
}

#[test]
fn unwise_values_are_warned_of_and_accepted() {
    let rows = [
        ("[refresh]\nbefore_expiry = \"5m\"", "before_expiry is 5m"),
        ("[refresh]\ntimeout = \"19s\"", "timeout is 19s"),
        ("[refresh]\nretry_max = \"2h\"", "retry_max is 2h"),
        ("[refresh]\nsettle = \"50ms\"", "settle is 50ms"),
        ("[refresh]\nsettle = \"31m\"", "settle is 31m"),
        ("[refresh]\nunprovable = \"present\"", "unprovable is \"present\""),
        ("[refresh_token]\nremind = []", "remind is empty"),
        ("[refresh_token]\nremind = [\"30m\"]", "remind ends 30m before"),
        ("[refresh_token]\nremind = [\"90d\"]", "remind begins 90d before"),
        ("[refresh_token]\nremind = []\nlifetime = \"5s\"", "lifetime is 5s"),
        ("[schedule]\nsweep = \"0 */2 * * * *\"", "sweep does not come in every minute"),
        ("[schedule]\nsweep = \"* * 3 * * *\"", "sweep does not come in every minute"),
        ("[schedule]\nkeep_history = \"1d\"", "keep_history is 1d"),
        ("[[app]]\nid = \"13\"\nsecret_key_file = \"app.secret\"", "App 13 has no OA"),
        ("[authorize]\nlisten = \"127.0.0.1:8788\"", "no [[app]] has a redirect_uri"),
        (
            "[[app]]\nid = \"13\"\nsecret_key_file = \"app.secret\"\nredirect_uri = \"http://localhost/z\"",
            "redirect_uri of app 13 is http://localhost/z",
        ),
    ];
    let place = Place::new();
    for (text, phrase) in rows {
        let warnings = place.accepted(&format!("{FLEET}{text}\n")).warnings();
        assert!(warnings.iter().any(|warning| warning.contains(phrase)), "{phrase}: {warnings:#?}");
    }
    assert_eq!(place.accepted(FLEET).warnings(), Vec::<String>::new());
    assert!(place.accepted("").warnings()[0].contains("There is no OA"));
    let simulator = FLEET.replace("[[oa]]", "api_url = \"http://localhost:1\"\n[[oa]]");
    assert!(place.accepted(&simulator).warnings()[0].contains("is it a simulator?"));
}

#[test]
fn a_secret_file_that_its_group_may_read_is_warned_of_unless_root_shares_it() {
    let place = Place::new();
    let path = place.file("app.secret", SECRET, 0o640);
    let is_root = fs::metadata(&path).map(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0);
    if is_root.expect("metadata") {
        assert_eq!(place.accepted(FLEET).warnings(), Vec::<String>::new());
        std::os::unix::fs::chown(&path, Some(1), Some(1)).expect("given away");
    }
    assert!(place.accepted(FLEET).warnings()[0].contains("readable by its group"));
}

#[test]
fn a_fleet_of_ten_thousand_is_read_in_no_time() {
    let mut text = String::from("[[app]]\nid = \"12\"\nsecret_key_file = \"app.secret\"\n");
    for number in 0..10_000 {
        text.push_str(&format!("[[oa]]\nid = \"{number}\"\napp = \"12\"\n"));
    }
    let place = Place::new();
    assert_eq!(place.accepted(&text).oas.len(), 10_000);
    assert_eq!(place.problems(&text.replace("app = \"12\"", "app = 12")).len(), 10_000);
}

/// Pieces that configs are made of, whole and broken.
fn piece() -> impl Strategy<Value = String> {
    let known = "[refresh] [[oa]] [[app]] [ [[ ]] ] = . , \" ' \"\"\" { } # \n id app timeout jitter remind sweep level \
        proxy token_url \"1d\" \"* * * * * *\" \"0 0 31 * MON#5 L\" 5 0x1f 1e9 nan -0 true 2026-11-22 \"https://a/\" \
        \\u0000 \u{feff} é \r";
    let known: Vec<String> = known.split(' ').map(str::to_owned).collect();
    prop_oneof![4 => proptest::sample::select(known), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        survive(&text);
    }

    #[test]
    fn no_heap_of_pieces_makes_the_parser_panic(pieces in prop::collection::vec(piece(), 0..40)) {
        survive(&pieces.join(" "));
        survive(&pieces.concat());
    }

    #[test]
    fn no_mutation_of_the_example_makes_the_parser_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..20, piece()), 1..8),
    ) {
        // Without the comments, so that every change meets something that counts.
        let lines = EXAMPLE.lines().map(|line| line.strip_prefix('#').unwrap_or(line));
        let mut text: Vec<char> = lines.filter(|line| !line.starts_with(' ')).collect::<Vec<_>>().join("\n").chars().collect();
        for (place, length, piece) in changes {
            let start = place.index(text.len() + 1);
            let end = (start + length).min(text.len());
            text.splice(start..end, piece.chars());
        }
        survive(&text.into_iter().collect::<String>());
    }

    #[test]
    fn no_value_makes_its_reader_panic(value in any::<String>(), digits in "[0-9a-zA-Z*/,#?+ .-]{0,40}") {
        for value in [value, digits] {
            for key in ["timeout", "level", "sweep", "proxy", "token_url", "id", "path", "secret_key_file"] {
                let value = value.replace('\\', "/").replace('"', "'");
                survive(&format!("{}\n{key} = \"{value}\"\n", section_of(key)));
            }
        }
    }
}

/// Parses the text; a problem, if there is one, is whole.
fn survive(text: &str) {
    let file = Path::new("/nonexistent/config.toml");
    if let Err(problems) = config::parse(file, text, Secrets::Read, &Environment::default()) {
        assert!(problems.len() > 0);
        for line in problems.iter() {
            let rest = line.strip_prefix("/nonexistent/config.toml:").expect("the file");
            let mut parts = rest.splitn(3, ':');
            let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok()).expect("a number");
            assert!(number() >= 1 && number() >= 1, "{line}");
            assert!(rest.contains("; "), "{line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }
}
