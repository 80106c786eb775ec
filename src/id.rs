//! Names of things: an OA, an app, an attempt. Newtypes, so that one is never handed where another belongs.
//! Imports nothing of ours.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
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

/// One attempt to refresh: from the claim to its verdict.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(uuid::Uuid);

impl AttemptId {
    /// A name that no other attempt has.
    pub fn random() -> AttemptId {
        AttemptId(uuid::Uuid::new_v4())
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
