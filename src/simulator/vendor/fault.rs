//! What goes wrong at the vendor, for whom, and the queue in which it waits. May import id.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::OaId;
use crate::simulator::fault::{Body, Times};
use crate::simulator::kind::VendorQuestion;

/// A fault of the vendor's, for whom, and how many times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VendorRule {
    /// Only for this OA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oa_id: Option<OaId>,
    /// Only when this is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<VendorQuestion>,
    /// How many times.
    #[serde(default)]
    pub times: Times,
    /// What goes wrong.
    pub fault: VendorFault,
}

impl VendorRule {
    /// The fault happens to whoever comes next.
    pub fn once(fault: VendorFault) -> VendorRule {
        VendorRule::times(1, fault)
    }

    /// The fault happens to the next `count`.
    pub fn times(count: u32, fault: VendorFault) -> VendorRule {
        VendorRule { oa_id: None, asked: None, times: Times::Count(count), fault }
    }

    /// The fault happens from now on, until [`clear_vendor_faults`](crate::simulator::Simulator::clear_vendor_faults).
    pub fn forever(fault: VendorFault) -> VendorRule {
        VendorRule { times: Times::Forever, ..VendorRule::once(fault) }
    }

    /// The same, but only for this OA.
    #[must_use]
    pub fn for_oa(self, oa_id: &str) -> VendorRule {
        VendorRule { oa_id: Some(OaId::from(oa_id)), ..self }
    }

    /// The same, but only when this is asked.
    #[must_use]
    pub fn when_asked(self, asked: VendorQuestion) -> VendorRule {
        VendorRule { asked: Some(asked), ..self }
    }

    /// Why the rule could never be carried out, if so, as one sentence.
    pub(in crate::simulator) fn objection(&self) -> Option<String> {
        let status = match &self.fault {
            VendorFault::Answer(VendorAnswer { status, .. }) | VendorFault::Raw { status, .. } => *status,
            VendorFault::Stall | VendorFault::Close | VendorFault::Reset | VendorFault::Huge { .. } => 200,
        };
        let fits = (200..=999).contains(&status);
        (!fits).then(|| format!("{status} is no HTTP status that ends a request: use 200 to 999."))
    }
}

/// What goes wrong at the vendor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum VendorFault {
    /// An answer in the vendor's form, with this in it.
    Answer(VendorAnswer),
    /// Nothing, until the client goes.
    Stall,
    /// FIN, and not a byte before it.
    Close,
    /// RST, and not a byte before it.
    Reset,
    /// Anything.
    Raw {
        /// The HTTP status.
        status: u16,
        /// The body, sent as it stands.
        #[serde(default)]
        body: Body,
    },
    /// The answer as it should be, with a message of this size.
    Huge {
        /// Its size.
        bytes: usize,
    },
}

impl VendorFault {
    /// This status, with its usual words and no data.
    pub fn status(status: u16) -> VendorFault {
        VendorFault::Answer(VendorAnswer { status, ..VendorAnswer::default() })
    }

    /// 200, with this as the link.
    pub fn link(url: &str) -> VendorFault {
        let data = VendorData::Link(url.to_owned());
        VendorFault::Answer(VendorAnswer { data, ..VendorAnswer::default() })
    }

    /// 200, with bytes that are neither JSON nor text.
    pub fn garbage() -> VendorFault {
        VendorFault::Raw { status: 200, body: Body(vec![0xff, 0xfe, 0, b'{', b'"', 0x80]) }
    }

    /// What it does, for the ledger; shows no body.
    pub(super) fn describe(&self) -> String {
        match self {
            VendorFault::Answer(answer) => format!("answered {}", answer.status),
            VendorFault::Stall => "never answered".to_owned(),
            VendorFault::Close => "closed without an answer".to_owned(),
            VendorFault::Reset => "reset".to_owned(),
            VendorFault::Raw { status, .. } => format!("answered {status} with a body of its own"),
            VendorFault::Huge { bytes } => format!("answered with a message of {bytes} bytes"),
        }
    }
}

/// An answer of the vendor's; the default is a 200 that has no data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VendorAnswer {
    /// The HTTP status. A 204 has no body, whatever else is said here.
    pub status: u16,
    /// Headers besides the usual ones.
    pub headers: Vec<(String, String)>,
    /// What stands in `data`.
    pub data: VendorData,
    /// What stands in `code`; without it, the status.
    pub code: Option<Value>,
    /// What stands in `message`; without it, the status in words.
    pub message: Option<String>,
    /// What stands in `referentId`; without it, something new.
    pub referent_id: Option<String>,
}

impl Default for VendorAnswer {
    fn default() -> VendorAnswer {
        VendorAnswer {
            status: 200,
            headers: Vec::new(),
            data: VendorData::Missing,
            code: None,
            message: None,
            referent_id: None,
        }
    }
}

/// The data of an answer of the vendor's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VendorData {
    /// What it should be.
    Usual,
    /// `null`; for the other style, no `url`.
    Missing,
    /// This as the link.
    Link(String),
    /// This.
    Json(Value),
}

/// The rules that still wait, oldest first.
#[derive(Debug, Default)]
pub(in crate::simulator) struct VendorFaults(Vec<VendorRule>);

impl VendorFaults {
    pub(super) fn add(&mut self, rule: VendorRule) {
        self.0.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The oldest rule that fits, used up by one.
    pub(super) fn take(&mut self, asked: VendorQuestion, oa: Option<&OaId>) -> Option<VendorFault> {
        self.0.retain(|rule| rule.times != Times::Count(0));
        let rule = self.0.iter_mut().find(|rule| {
            rule.asked.is_none_or(|wanted| wanted == asked)
                && rule.oa_id.as_ref().is_none_or(|wanted| Some(wanted) == oa)
        })?;
        if let Times::Count(left) = &mut rule.times {
            *left -= 1;
        }
        Some(rule.fault.clone())
    }
}
