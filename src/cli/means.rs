//! What the commands that read have to go by: the daemon's API while it is there, else the store.

use std::path::{Path, PathBuf};

use super::client::{Problem, Trouble, Unanswered};
use super::status::unknown_oa;
use super::token::{none_here, none_valid};
use super::{Failure, exit};
use crate::config::{Config, Problems};

/// Where the socket is for a user who may not read the config.
const USUAL_SOCKET: &str = "/run/zalo-tokend/api.sock";

/// Whether the daemon is asked at all.
#[derive(clap::Args)]
pub(super) struct Offline {
    /// Ask no daemon: look into the store, which this user then has to be allowed to
    #[arg(long)]
    pub(super) offline: bool,
}

/// What a command has to go by.
pub(super) struct Means {
    /// The config file.
    pub(super) file: PathBuf,
    /// What stands in it, or why it cannot be had.
    pub(super) config: Result<Config, Failure>,
    /// The API's socket, if there is one to ask at.
    pub(super) socket: Option<PathBuf>,
    /// The user named the socket: that daemon is meant, and no other.
    pub(super) is_named: bool,
}

impl Means {
    /// With the config, and the socket that was named.
    pub(super) fn of(file: PathBuf, loaded: Result<Config, Problems>, named: Option<PathBuf>) -> Means {
        let named = named.or_else(|| {
            std::env::var_os("ZALO_TOKEND_SOCKET").filter(|name| !name.is_empty()).map(PathBuf::from)
        });
        let is_named = named.is_some();
        let socket = named.or_else(|| match &loaded {
            Ok(config) => config.api.as_ref().map(|api| api.socket.clone()),
            Err(problems) => problems.is_not_permitted().then(|| PathBuf::from(USUAL_SOCKET)),
        });
        Means { file, config: loaded.map_err(Failure::from), socket, is_named }
    }

    /// What the API tells, if there is one and it is to be asked; else what is told `otherwise`. Where that is not permitted,
    /// what was the matter with the API is told as well.
    pub(super) fn tell<T>(
        &self,
        Offline { offline }: &Offline,
        oa_id: &str,
        ask: impl FnOnce(&Path) -> Result<T, Trouble>,
        otherwise: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(socket) = self.socket.as_ref().filter(|_| !offline) else { return otherwise() };
        let why = match ask(socket) {
            Ok(told) => return Ok(told),
            Err(Trouble::Problem(problem)) => return Err(self.failure(problem, oa_id)),
            Err(Trouble::Unanswered(why)) => why,
        };
        otherwise().map_err(|failure| {
            if failure.exit_code != exit::NOT_PERMITTED {
                return failure;
            }
            let told = why.told(socket);
            match why {
                Unanswered::NotThere | Unanswered::NotPermitted | Unanswered::Stranger(_) => {
                    Failure::new(exit::NOT_PERMITTED, format!("{told}; and without it: {}", failure.sentence))
                }
                Unanswered::Silent | Unanswered::Broken(_) | Unanswered::NotNow(_) => {
                    Failure::new(exit::NOT_NOW, told)
                }
            }
        })
    }

    /// What a command makes of a problem that the API has with this OA.
    pub(super) fn failure(&self, problem: Problem, oa_id: &str) -> Failure {
        if let Some(vendor) = &problem.vendor {
            return none_here(oa_id, vendor);
        }
        match (problem.kind.as_str(), &self.config, problem.state) {
            ("no_such_oa", Ok(config), _) => unknown_oa(oa_id, config),
            ("no_valid_token", _, Some(state)) => none_valid(oa_id, state),
            _ => Failure::from(problem),
        }
    }

    /// The config, for what cannot do without it.
    pub(super) fn config(&self) -> Result<&Config, Failure> {
        self.config.as_ref().map_err(Failure::clone)
    }
}
