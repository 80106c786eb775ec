//! The style, the script and the icon of the pages: files of the source, under names that change with what is in them.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// One of them.
#[derive(Debug)]
pub struct Asset {
    /// The name that it is asked for by: `page-0123456789abcdef.css`.
    pub name: String,
    /// What it is.
    pub content_type: &'static str,
    /// What is in it.
    pub body: &'static str,
}

impl Asset {
    fn of(stem: &str, ending: &str, content_type: &'static str, body: &'static str) -> Asset {
        let digest = Sha256::digest(body.as_bytes());
        let version: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Asset { name: format!("{stem}-{version}.{ending}"), content_type, body }
    }

    /// Its entity tag: the name says what is in it.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.name)
    }

    /// How long it may be kept: what has this name never changes.
    pub const CACHE_CONTROL: &str = "public, max-age=31536000, immutable";
}

pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::of("page", "css", "text/css; charset=utf-8", include_str!("page.css")));
pub(super) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::of("page", "js", "text/javascript; charset=utf-8", include_str!("page.js")));
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::of("icon", "svg", "image/svg+xml", include_str!("icon.svg")));

/// The folder that they are asked for in. Pages that stand at `/` name it so; those of a consent, which can stand anywhere,
/// name it beside themselves: whoever serves those answers every path that ends in `assets/NAME`.
pub(super) const FOLDER: &str = "assets";

/// The asset that a path ends in, as `/assets/NAME` or `/anything/assets/NAME`.
pub fn at(path: &str) -> Option<&'static Asset> {
    let (folder, name) = path.rsplit_once('/')?;
    let is_folder = folder.rsplit('/').next() == Some(FOLDER);
    let all: [&'static Asset; 3] = [&STYLE, &SCRIPT, &ICON];
    all.into_iter().find(|asset| is_folder && asset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_found_by_its_own_name_in_its_folder_and_not_otherwise() {
        let name = &STYLE.name;
        for path in [format!("/assets/{name}"), format!("/zalo/callback/assets/{name}")] {
            assert_eq!(at(&path).map(|asset| asset.body), Some(STYLE.body), "{path}");
        }
        for path in [
            format!("/{name}"),
            format!("/xassets/{name}"),
            format!("/assets/../{name}"),
            format!("/assets/{name}/"),
            "/assets/page.css".to_owned(),
            "/assets/".to_owned(),
            String::new(),
        ] {
            assert!(at(&path).is_none(), "{path}");
        }
    }
}
