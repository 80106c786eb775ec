//! What is different between two configs: what a reload has to do, and what it tells.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use super::Config;
use crate::id::OaId;

/// The difference between the config that is in force and the one that is to follow it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// The OAs that are new.
    pub added_oas: Vec<OaId>,
    /// The OAs that have another app or name.
    pub changed_oas: Vec<OaId>,
    /// How many OAs, apps and vendors are new.
    pub added: usize,
    /// How many OAs, apps and vendors are not as they were; of an app or vendor its secret counts too.
    pub changed: usize,
    /// How many OAs, apps and vendors are gone.
    pub removed: usize,
    /// The other sections in which something is different, as they are called in the file.
    pub sections: Vec<&'static str>,
}

impl Difference {
    /// From `old` to `new`.
    pub fn between(old: &Config, new: &Config) -> Difference {
        let oas = compare(&old.oas, &new.oas);
        let apps = compare(&old.apps, &new.apps);
        let vendors = compare(&old.vendors, &new.vendors);
        let vendor_oas = compare(&old.vendor_oas, &new.vendor_oas);
        let sections = [
            ("log", old.log != new.log),
            ("refresh", old.timeout != new.timeout || timing_of(old) != timing_of(new)),
            ("http", old.http != new.http),
            (
                "refresh_token",
                old.remind != new.remind
                    || old.timing.refresh_token_lifetime != new.timing.refresh_token_lifetime,
            ),
            ("schedule", old.schedule != new.schedule),
            ("api", old.api != new.api),
            ("authorize", old.authorize != new.authorize),
            ("publish", old.publish != new.publish),
        ];
        Difference {
            added: oas.added.len() + apps.added.len() + vendors.added.len() + vendor_oas.added.len(),
            changed: oas.changed.len()
                + apps.changed.len()
                + vendors.changed.len()
                + vendor_oas.changed.len(),
            removed: oas.removed + apps.removed + vendors.removed + vendor_oas.removed,
            added_oas: oas.added,
            changed_oas: oas.changed,
            sections: sections.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect(),
        }
    }

    /// Why a running daemon cannot go over from `old` to `new`, in a sentence that says what to do.
    pub fn obstacle(old: &Config, new: &Config) -> Option<String> {
        let (file, old_path) = (new.file.display(), old.store_path.display());
        if old.store_path != new.store_path {
            return Some(format!(
                "{file}: [store] path is another one than the running daemon's, {old_path}; set it back, or restart the \
                 daemon"
            ));
        }
        if old.authorize.listen != new.authorize.listen {
            return Some(format!(
                "{file}: [authorize] listens elsewhere than the running daemon does; set listen back, or restart the daemon"
            ));
        }
        (listening(old) != listening(new)).then(|| {
            format!(
                "{file}: [api] listens elsewhere than the running daemon does; set socket, mode, group, listen, \
                 max_connections and oa_metrics back, or restart the daemon"
            )
        })
    }
}

/// What of `[api]` is settled at the start.
#[derive(PartialEq, Eq)]
struct Listening<'c> {
    socket: &'c Path,
    mode: u32,
    group: Option<u32>,
    listen: Option<SocketAddr>,
    max_connections: u32,
    oa_metrics: bool,
}

fn listening(config: &Config) -> Option<Listening<'_>> {
    config.api.as_ref().map(|api| Listening {
        socket: &api.socket,
        mode: api.mode,
        group: api.group,
        listen: api.listen,
        max_connections: api.max_connections,
        oa_metrics: api.oa_metrics,
    })
}

/// What `[refresh]` says.
fn timing_of(config: &Config) -> crate::rotation::timing::Timing {
    let mut timing = config.timing.clone();
    timing.refresh_token_lifetime = std::time::Duration::ZERO;
    timing
}

struct Compared<K> {
    added: Vec<K>,
    changed: Vec<K>,
    removed: usize,
}

fn compare<K: Ord + Clone, V: PartialEq>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Compared<K> {
    let is_other = |key: &K, value: &V| old.get(key).is_some_and(|old| old != value);
    Compared {
        added: new.keys().filter(|key| !old.contains_key(*key)).cloned().collect(),
        changed: new.iter().filter(|(key, value)| is_other(key, value)).map(|(key, _)| key.clone()).collect(),
        removed: old.keys().filter(|key| !new.contains_key(*key)).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Secrets, parse};

    fn config(text: &str) -> Config {
        let apps =
            "[[app]]\nid = \"1\"\nsecret_key_file = \"s\"\n[[app]]\nid = \"2\"\nsecret_key_file = \"s\"\n";
        let text = format!("{text}\n{apps}");
        parse(Path::new("/c.toml"), &text, Secrets::LeaveAlone, &Environment::default()).expect("valid")
    }

    #[test]
    fn oas_that_come_go_and_move_are_told_apart() {
        let old = config("[[oa]]\nid = \"7\"\napp = \"1\"\n[[oa]]\nid = \"8\"\napp = \"1\"\n");
        let new = config("[[oa]]\nid = \"8\"\napp = \"2\"\n[[oa]]\nid = \"9\"\napp = \"1\"\n");
        let difference = Difference::between(&old, &new);
        assert_eq!((difference.added, difference.changed, difference.removed), (1, 1, 1));
        assert_eq!(difference.added_oas, [OaId::from("9")]);
        assert_eq!(difference.changed_oas, [OaId::from("8")]);
        assert!(difference.sections.is_empty());
        assert_eq!(Difference::between(&old, &old), Difference::default());
    }

    #[test]
    fn vendors_and_their_oas_are_counted() {
        let vendor = |key: &str| {
            format!("[[vendor]]\nid = \"v\"\nbase_url = \"https://v.example\"\napi_key_file = \"k\"\n{key}\n")
        };
        let oa = |id: &str, more: &str| format!("[[oa]]\nid = \"{id}\"\nvendor = \"v\"\n{more}\n");
        let old = config(&format!("{}{}{}", vendor(""), oa("7", ""), oa("8", "")));
        let name = "name = \"B\"";
        let new = config(&format!("{}{}{}", vendor("renew_before = \"9d\""), oa("8", name), oa("9", "")));
        let difference = Difference::between(&old, &new);
        assert_eq!((difference.added, difference.changed, difference.removed), (1, 2, 1));
        assert!(difference.added_oas.is_empty() && difference.sections.is_empty());
    }

    #[test]
    fn the_sections_that_differ_are_named() {
        let old = config("");
        for (text, section) in [
            ("[log]\nlevel = \"debug\"", "log"),
            ("[refresh]\nsettle = \"2m\"", "refresh"),
            ("[refresh]\nmax_in_flight = 9", "refresh"),
            ("[refresh]\ntimeout = \"9s\"", "refresh"),
            ("[http]\nproxy = \"http://127.0.0.1:1\"", "http"),
            ("[refresh_token]\nlifetime = \"80d\"", "refresh_token"),
            ("[refresh_token]\nremind = []", "refresh_token"),
            ("[schedule]\nsweep = \"*/2 * * * * *\"", "schedule"),
            ("[api]", "api"),
            ("[authorize]\nlink_life = \"1d\"", "authorize"),
            ("[[publish]]\nfile = \"/x/{oa_id}\"\noas = [\"*\"]", "publish"),
        ] {
            assert_eq!(Difference::between(&old, &config(text)).sections, [section], "{text}");
        }
    }

    #[test]
    fn another_store_is_an_obstacle() {
        let (old, new) = (config(""), config("[store]\npath = \"/elsewhere/tokens.db\"\n"));
        assert!(
            Difference::obstacle(&old, &new)
                .is_some_and(|why| why.contains("/elsewhere") || why.contains("restart"))
        );
        assert_eq!(Difference::obstacle(&old, &old), None);
    }

    #[test]
    fn another_place_to_listen_at_is_an_obstacle_and_other_rights_are_none() {
        let old = config("[api]\nrate = 5");
        assert_eq!(Difference::obstacle(&old, &config("[api]\nrate = 6")), None);
        let elsewhere = config("[api]\nsocket = \"/elsewhere/api.sock\"");
        assert!(Difference::obstacle(&old, &elsewhere).is_some_and(|why| why.contains("restart")));
        assert!(Difference::obstacle(&old, &config("")).is_some());
        let consents = config("[api]\nrate = 5\n[authorize]\nlisten = \"127.0.0.1:1\"");
        assert!(Difference::obstacle(&old, &consents).is_some_and(|why| why.contains("[authorize]")));
    }
}
