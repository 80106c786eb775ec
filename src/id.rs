//! Names of things: an OA, an app, a vendor, an attempt. Newtypes, so that one is never handed where another belongs.
//! Imports nothing of ours.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        /// They are found, and in order, by their text.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> $name {
                $name(Arc::from(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> $name {
                $name(Arc::from(text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// An Official Account, by the number that Zalo gave it.
    OaId
}

name! {
    /// A Zalo app, by the number that Zalo gave it.
    AppId
}

name! {
    /// A vendor who holds OAs, as the config calls him.
    VendorId
}

/// An OA as the config has it. Large fleets are kept in memory as these, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Managed {
    /// The app through which its tokens were granted.
    pub app_id: AppId,
    /// What people call it.
    pub name: Option<Box<str>>,
}

/// The OAs that the config has.
pub type Fleet = BTreeMap<OaId, Managed>;

/// One attempt to refresh: from the claim to its verdict.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(uuid::Uuid);

impl AttemptId {
    /// A name that no other attempt has. It begins with the time, so that the names of a journal of millions of
    /// attempts are added where the last one stands, and not all over its index.
    pub fn random() -> AttemptId {
        AttemptId(uuid::Uuid::now_v7())
    }

    /// The 16 bytes that the store keeps.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads what its `Display` wrote; `None` if the text is no such name.
    pub fn parse(text: &str) -> Option<AttemptId> {
        uuid::Uuid::try_parse(text).ok().map(AttemptId)
    }

    /// From the 16 bytes that the store keeps.
    pub fn from_bytes(bytes: [u8; 16]) -> AttemptId {
        AttemptId(uuid::Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for AttemptId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AttemptId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<AttemptId, D::Error> {
        let text = String::deserialize(deserializer)?;
        AttemptId::parse(&text).ok_or_else(|| serde::de::Error::custom("no name of an attempt"))
    }
}
