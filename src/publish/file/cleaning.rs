//! The files of publishers that there are no more.

use std::path::{Path, PathBuf};

use super::super::{Around, events};
use super::together::{self, Removed};
use super::{PAGE, content};
use crate::id::OaId;
use crate::store::{PublishedFile, StoreError};

/// Removes the files of publishers that there are no more: all that are noted, but for those of `templates`.
pub(in super::super) async fn remove_foreign(
    around: &Around,
    templates: &[PathBuf],
) -> Result<(), StoreError> {
    let mut after = String::new();
    loop {
        let page = around.reader.published(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.path.clone();
        let is_foreign = |file: &PublishedFile| {
            let place = |template: &PathBuf| content::place(template, &file.oa_id);
            !templates.iter().filter_map(place).any(|place| place == Path::new(&file.path))
        };
        let foreign: Vec<(OaId, PathBuf)> =
            page.into_iter().filter(is_foreign).map(|file| (file.oa_id, PathBuf::from(file.path))).collect();
        let mut rest = foreign;
        while !rest.is_empty() {
            rest = remove_some_foreign(around, rest).await?;
        }
    }
}

/// Removes some of these files, and returns the others.
async fn remove_some_foreign(
    around: &Around,
    files: Vec<(OaId, PathBuf)>,
) -> Result<Vec<(OaId, PathBuf)>, StoreError> {
    let work = move || {
        let Removed { done, rest } = together::remove(files.clone());
        let paths: Vec<String> =
            files.iter().take(done.len()).map(|(_, path)| path.to_string_lossy().into_owned()).collect();
        (done, paths, files[files.len() - rest.len()..].to_vec())
    };
    let Ok((done, paths, rest)) = tokio::task::spawn_blocking(work).await else { return Ok(Vec::new()) };
    let mut gone = Vec::new();
    for ((oa_id, outcome), path) in done.into_iter().zip(paths) {
        match outcome {
            Ok(()) => gone.push(path),
            // It stays noted, and the next start or reload tries again.
            Err(detail) => events::failed(&format!("file {path}"), Some(&oa_id), &detail, None),
        }
    }
    around.store.forget_published(gone).await?;
    Ok(rest)
}
