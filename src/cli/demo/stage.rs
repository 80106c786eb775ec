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
use super::file::{self, Edition};
use super::shops::{CHAIN, SHOPS, Shop};
use crate::clock::{Clock, SystemClock, Time};
use crate::config::{self, Config, Secrets};
use crate::id::OaId;
use crate::keeper;
use crate::simulator::{MARKER, Simulator, Variant};
use crate::store::{Direct, OaStatus, StoreError, TokenAnswer};

/// Short enough for many refreshes in a minute.
pub(super) const ACCESS_TOKEN_LIFE: Duration = Duration::from_secs(12);
/// Room for the brake's trials and the questions between them before the old token ends.
pub(super) const BEFORE_EXPIRY: Duration = Duration::from_secs(6);

pub(super) struct Stage {
    pub(super) simulator: Simulator,
    /// Removed when dropped.
    pub(super) directory: TempDir,
    program: PathBuf,
    /// As the daemon has it in force.
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
        let mut apps: Vec<&str> = SHOPS.iter().map(|shop| shop.app_id).collect();
        apps.dedup();
        for app in apps {
            // It carries the tokens' marker, so that a test finds it wherever it should not be.
            let secret = format!("{MARKER}{}", uuid::Uuid::new_v4().simple());
            simulator.add_app(app, &secret);
            write_private(&directory.path().join(format!("{app}.secret")), &secret)?;
        }
        let file = directory.path().join("config.toml");
        write_private(&file, &Edition::First.text(&simulator, directory.path()))?;
        let config = config::load(&file, Secrets::LeaveAlone)?;
        Ok(Stage { simulator, directory, program: std::env::current_exe()?, config })
    }

    /// Where the daemon's API is.
    pub(super) fn api_socket(&self) -> PathBuf {
        file::api_socket(self.directory.path())
    }

    /// Writes the config file anew. What is in force does not change by that.
    pub(super) fn rewrite_config(&self, edition: Edition) -> Result<(), Failure> {
        Ok(write_private(&self.config.file, &edition.text(&self.simulator, self.directory.path()))?)
    }

    /// The daemon has taken the file over.
    pub(super) fn follow_config(&mut self) -> Result<(), Failure> {
        self.config = config::load(&self.config.file, Secrets::LeaveAlone)?;
        Ok(())
    }

    /// How old the first set of an OA is.
    pub(super) fn first_age(shop: &Shop) -> Duration {
        ACCESS_TOKEN_LIFE.saturating_sub(BEFORE_EXPIRY).saturating_sub(shop.first_refresh)
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
        let answer = self.simulator.grant_aged(shop.app_id, shop.oa_id, age);
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

    /// How the OAs stand, as `status` would tell it, and when the chain's next trial is, if its app is braked.
    pub(super) fn look(&self) -> Result<(Vec<OaStatus>, Option<Time>), Failure> {
        let store = Direct::open_to_read(&self.config.store_path)?;
        let statuses = store.statuses(
            &keeper::managed(&self.config),
            &keeper::at_vendors(&self.config),
            &SystemClock::new().read(),
        )?;
        let mut held = store.held_apps()?.into_iter();
        let trial_at = held.find(|app| app.app_id.as_str() == CHAIN).map(|app| app.trial_at);
        Ok((statuses, trial_at))
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

/// Writes the file, and makes it where there is none.
fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    let mut open = std::fs::OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(0o600).open(file)?.write_all(text.as_bytes())
}
