//! What the config says of vendors and of the OAs that they hold, as far as others than the config go by it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Time;
use crate::id::{OaId, VendorId};

/// Whose API a vendor's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `API-KEY`, and a link in `data.url`; it tells how an OA stands as well.
    Interits,
    /// `Authorization: Bearer`, and a bare `{"url"}`.
    Etelecom,
    /// The same at another path.
    Sencloud,
}

impl Style {
    /// Can he be asked how an OA stands?
    pub fn tells_how_an_oa_stands(self) -> bool {
        match self {
            Style::Interits => true,
            Style::Etelecom | Style::Sencloud => false,
        }
    }
}

/// By what the clock of a vendor's OAs runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whose API it is.
    pub style: Style,
    /// A link is asked for when less than this is left.
    pub renew_before: Duration,
    /// How long a consent counts where the vendor does not say.
    pub lifetime: Duration,
}

impl Terms {
    /// When consent is due that ends then. At most half of a lifetime is taken, so that no consent is due as soon as it was
    /// given.
    pub fn due_at(&self, ends_at: Time) -> Time {
        ends_at.minus(self.renew_before.min(self.lifetime / 2))
    }
}

/// An OA that a vendor holds, as the config has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorOa {
    /// Who holds it.
    pub vendor_id: VendorId,
    /// What people call it.
    pub name: Option<Box<str>>,
    /// When consent was given, as far as the file says.
    pub authorized_at: Option<Time>,
}

/// The OAs that vendors hold.
pub type VendorOas = BTreeMap<OaId, VendorOa>;
