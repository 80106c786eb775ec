//! The OA that a request's path names.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use super::problem::Problem;
use crate::config;
use crate::id::OaId;

/// An id that an OA can have. Others get no further, and into no log.
pub(super) struct Oa(pub(super) OaId);

impl<S: Send + Sync> FromRequestParts<S> for Oa {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Oa, Problem> {
        let named = Path::<String>::from_request_parts(parts, state).await;
        let Path(named) = named.map_err(|_| Problem::bad_request("the OA's id is no text"))?;
        config::check_id(&named).map_err(|what| Problem::bad_request(format!("the OA's id {what}")))?;
        Ok(Oa(OaId::from(named)))
    }
}
