//! What stands in a file. Pure.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::clock::Time;
use crate::config::{Format, OA_ID, check_id};
use crate::id::OaId;
use crate::secret::Secret;
use crate::store::Held;

/// As `zalo-tokend token --json` has it, without what is wrong a second later.
#[derive(Serialize)]
struct Record<'t> {
    oa_id: &'t OaId,
    access_token: &'t str,
    expires_at: Time,
    generation: u64,
}

/// The content of the file of this OA.
pub(super) fn content(format: Format, oa_id: &OaId, held: &Held) -> Result<Secret, serde_json::Error> {
    let Held { access_token, ends, generation, .. } = held;
    let access_token = access_token.expose();
    Ok(Secret::new(match format {
        Format::Text => format!("{access_token}\n"),
        Format::Json => {
            let record = Record { oa_id, access_token, expires_at: *ends, generation: *generation };
            serde_json::to_string(&record)? + "\n"
        }
        Format::Env => format!(
            "ZALO_OA_ID={}\nZALO_ACCESS_TOKEN={}\nZALO_EXPIRES_AT={}\nZALO_GENERATION={generation}\n",
            quoted(oa_id.as_str()),
            quoted(access_token),
            quoted(&ends.to_string()),
        ),
    }))
}

/// As a shell and systemd read it. What needs no quotes gets none, which others would take for a part of the value.
fn quoted(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:+=@%,".contains(&byte);
    if value.bytes().all(is_plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

/// Where the file of this OA is. `None`: its id could lead elsewhere.
pub(super) fn place(template: &Path, oa_id: &OaId) -> Option<PathBuf> {
    let is_plain = check_id(oa_id.as_str()).is_ok();
    is_plain.then(|| PathBuf::from(template.to_string_lossy().replace(OA_ID, oa_id.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;

    fn held(token: &str) -> Held {
        let ends = Time::from_millis(1_800_000_000_000);
        Held {
            access_token: Secret::new(token.to_owned()),
            ends,
            obtained: Moment::of_wall_clock(ends),
            generation: 3,
        }
    }

    fn of(format: Format, token: &str) -> String {
        content(format, &OaId::from("7"), &held(token)).expect("written").expose().to_owned()
    }

    #[test]
    fn each_format_has_what_it_promises() {
        assert_eq!(of(Format::Text, "abc"), "abc\n");
        assert_eq!(
            of(Format::Json, "a\"c"),
            "{\"oa_id\":\"7\",\"access_token\":\"a\\\"c\",\"expires_at\":\"2027-01-15T08:00:00Z\",\"generation\":3}\n"
        );
        assert_eq!(
            of(Format::Env, "a-_.c="),
            "ZALO_OA_ID=7\nZALO_ACCESS_TOKEN=a-_.c=\nZALO_EXPIRES_AT=2027-01-15T08:00:00Z\nZALO_GENERATION=3\n"
        );
        assert!(of(Format::Env, "a$(b)'c").contains(r"ZALO_ACCESS_TOKEN='a$(b)'\''c'"));
    }

    #[test]
    fn an_id_leads_nowhere_else() {
        let place = |id: &str| place(Path::new("/t/{oa_id}/{oa_id}.json"), &OaId::from(id));
        assert_eq!(place("a_-7"), Some("/t/a_-7/a_-7.json".into()));
        for id in ["", "..", "a/b", "/", "a.b", "a\0", "ä", &"7".repeat(65)] {
            assert_eq!(place(id), None, "{id:?}");
        }
    }
}
