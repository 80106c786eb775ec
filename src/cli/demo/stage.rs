//! What the demo runs on: a temporary directory, a simulator, a config over both, and grants brought in by the
//! binary's own `import`.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::super::{Failure, exit};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config, Secrets};
use crate::id::OaId;
use crate::keeper;
use crate::simulator::{MARKER, Simulator, Variant};
use crate::store::{Direct, OaStatus, StoreError, TokenAnswer};

/// Short enough for many refreshes in a minute.
pub(super) const ACCESS_TOKEN_LIFE: Duration = Duration::from_secs(8);
/// Room for two questions and another try before the old token ends.
pub(super) const BEFORE_EXPIRY: Duration = Duration::from_secs(3);

const APP: &str = "1000";

/// An OA of the demo.
pub(super) struct Shop {
    pub(super) oa_id: &'static str,
    pub(super) name: &'static str,
}

/// One for each fault. No name is longer than 12 characters: the columns are that wide.
pub(super) const SHOPS: [Shop; 7] = [
    Shop { oa_id: "1001", name: "Shop Hoa" },
    Shop { oa_id: "1002", name: "Trà Sen" },
    Shop { oa_id: "1003", name: "Bánh Mì Ba" },
    Shop { oa_id: "1004", name: "Cà Phê Sáng" },
    Shop { oa_id: "1005", name: "Áo Dài Mai" },
    Shop { oa_id: "1006", name: "Nhà Sách Lá" },
    Shop { oa_id: "1007", name: "Gốm Bát" },
];

pub(super) struct Stage {
    pub(super) simulator: Simulator,
    /// Removed when dropped.
    pub(super) directory: TempDir,
    program: PathBuf,
    config: Config,
}

impl Stage {
    /// Starts the simulator and writes the config.
    pub(super) async fn set_up() -> Result<Stage, Failure> {
        let directory = tempfile::Builder::new()
            .prefix("zalo-tokend-demo-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|error| {
                let parent = std::env::temp_dir();
                let sentence = format!(
                    "no directory can be made in {}: {error}; set TMPDIR to a place that can be written",
                    parent.display()
                );
                Failure::new(exit::FAILED, sentence)
            })?;
        let variant = Variant { access_token_life: ACCESS_TOKEN_LIFE, ..Variant::default() };
        let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), variant).await?;
        // It carries the tokens' marker, so that a test finds it wherever it should not be.
        let secret = format!("{MARKER}{}", uuid::Uuid::new_v4().simple());
        simulator.add_app(APP, &secret);
        write_private(&directory.path().join("app.secret"), &secret)?;
        let file = directory.path().join("config.toml");
        write_private(&file, &config_text(&simulator, directory.path()))?;
        let config = config::load(&file, Secrets::LeaveAlone)?;
        Ok(Stage { simulator, directory, program: std::env::current_exe()?, config })
    }

    /// How old the first set of an OA is: so much that the first refreshes come one after the other.
    pub(super) fn first_age(place: usize) -> Duration {
        let share = (place + 1) as f64 / SHOPS.len() as f64;
        (ACCESS_TOKEN_LIFE - BEFORE_EXPIRY).mul_f64(1.0 - share)
    }

    /// The binary that this is, with this config.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // In a process group of its own: Ctrl-C is for the demo, which then ends its children in order.
        command.arg("--config").arg(&self.config.file).process_group(0).kill_on_drop(true);
        command
    }

    /// Consent is given, `age` ago, and a person imports the answer.
    pub(super) async fn grant(&self, shop: &Shop, age: Duration) -> Result<(), Failure> {
        let answer = self.simulator.grant_aged(APP, shop.oa_id, age);
        let mut command = self.command();
        command.args(["import", shop.oa_id]);
        if !age.is_zero() {
            command.args(["--obtained-at", &SystemClock::new().now().minus(age).to_string()]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(answer.to_string().as_bytes()).await?;
        }
        let output = child.wait_with_output().await?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::new(exit::FAILED, format!("the import for {} failed: {}", shop.name, said.trim_end())))
    }

    /// How the OAs stand, as `status` would tell it.
    pub(super) fn statuses(&self) -> Result<Vec<OaStatus>, Failure> {
        let store = Direct::open_to_read(&self.config.store_path)?;
        Ok(store.statuses(&keeper::managed(&self.config), &SystemClock::new().read())?)
    }

    /// Whether `token` would print an access token that the simulator accepts.
    pub(super) fn has_good_token(&self, shop: &Shop) -> Result<bool, Failure> {
        let oa_id = OaId::from(shop.oa_id);
        let now = SystemClock::new().read();
        let store = Direct::open_to_read(&self.config.store_path)?;
        let answer: Result<TokenAnswer, StoreError> =
            store.token(&keeper::managed(&self.config), &oa_id, &now);
        match answer? {
            TokenAnswer::Valid(valid) => {
                Ok(self.simulator.is_valid_access_token(valid.access_token.expose()))
            }
            TokenAnswer::NoneValid(_) | TokenAnswer::NoSuchOa => Ok(false),
        }
    }
}

fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    let mut open = std::fs::OpenOptions::new();
    open.write(true).create_new(true).mode(0o600).open(file)?.write_all(text.as_bytes())
}

fn config_text(simulator: &Simulator, directory: &Path) -> String {
    let store = directory.join("tokens.db");
    // As TOML writes it: a directory's name may hold anything.
    let store = toml::Value::String(store.display().to_string());
    let mut text = format!(
        r#"[store]
path = {store}

[log]
level = "info"
format = "json"

[refresh]
before_expiry = "{BEFORE_EXPIRY:?}"
jitter = "0s"
timeout = "4s"
retry_first = "500ms"
retry_max = "1s"
settle = "700ms"

[schedule]
heartbeat = "* * * * * *"

[[app]]
id = "{APP}"
secret_key_file = "app.secret"
token_url = "{}"
api_url = "{}"
"#,
        simulator.token_url(),
        simulator.api_url(),
    );
    for Shop { oa_id, name } in &SHOPS {
        text.push_str(&format!("\n[[oa]]\nid = \"{oa_id}\"\napp = \"{APP}\"\nname = \"{name}\"\n"));
    }
    text
}
