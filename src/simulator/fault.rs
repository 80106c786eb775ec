//! What goes wrong at the token endpoint, when, and for whom: the words in which a test or a user says it.
//! A [`Rule`] waits in `fault_queue` until a connection or request fits it. Carrying a fault out is left to
//! `answer` and `token_endpoint`. May import id.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::duration;
use crate::id::OaId;

/// A fault, for whom, and how many times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Only for this OA, recognised by the refresh token or code presented; a fault at accept cannot know it.
    #[serde(default, deserialize_with = "some_oa", skip_serializing_if = "Option::is_none")]
    pub oa_id: Option<OaId>,
    /// How many times.
    #[serde(default)]
    pub times: Times,
    /// What goes wrong.
    pub fault: Fault,
}

fn some_oa<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OaId>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(OaId::from))
}

impl Rule {
    /// The fault happens to whoever comes next.
    pub fn once(fault: Fault) -> Rule {
        Rule { oa_id: None, times: Times::Count(1), fault }
    }

    /// The fault happens to the next `count`.
    pub fn times(count: u32, fault: Fault) -> Rule {
        Rule { oa_id: None, times: Times::Count(count), fault }
    }

    /// The fault happens from now on to everybody, until [`clear_faults`](super::Simulator::clear_faults).
    pub fn forever(fault: Fault) -> Rule {
        Rule { oa_id: None, times: Times::Forever, fault }
    }

    /// The same, but only for this OA.
    #[must_use]
    pub fn for_oa(self, oa_id: &str) -> Rule {
        Rule { oa_id: Some(OaId::from(oa_id)), ..self }
    }

    /// Why the rule could never be carried out, if so, as one sentence.
    pub(super) fn objection(&self) -> Option<String> {
        if self.fault.phase() == Phase::Accept && self.oa_id.is_some() {
            return Some("A fault at accept cannot know the OA: leave out oa_id.".to_owned());
        }
        let status = match &self.fault {
            Fault::AnswerBeforeLastByte { status, .. } => *status,
            Fault::AfterRequest { answer: Answer::Custom { status, .. }, .. }
            | Fault::AfterRequest { answer: Answer::Redirect { status, .. }, .. } => *status,
            Fault::CloseAtAccept
            | Fault::ResetAtAccept
            | Fault::StallAtAccept
            | Fault::ResetBeforeLastByte
            | Fault::StallBeforeLastByte
            | Fault::AfterRequest { .. } => 200,
        };
        let fits = (200..=999).contains(&status);
        (!fits).then(|| format!("{status} is no HTTP status that ends a request: use 200 to 999."))
    }
}

/// How many times a rule holds: in JSON a number or `"forever"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// This many times.
    Count(u32),
    /// Without end.
    Forever,
}

impl Default for Times {
    fn default() -> Times {
        Times::Count(1)
    }
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Times::Count(count) => serializer.serialize_u32(*count),
            Times::Forever => serializer.serialize_str("forever"),
        }
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Times, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "times must be a whole number or \"forever\"")]
        enum Written {
            Count(u32),
            Word(Word),
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Word {
            Forever,
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Count(count) => Times::Count(count),
            Written::Word(Word::Forever) => Times::Forever,
        })
    }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The connection is taken and closed at once (FIN).
    CloseAtAccept,
    /// The connection is taken and reset at once (RST).
    ResetAtAccept,
    /// The connection is taken and never read from, until the client goes.
    StallAtAccept,
    /// RST when all of the body but its last byte is there.
    ResetBeforeLastByte,
    /// No answer from when all of the body but its last byte is there, until the client goes. If the last byte
    /// comes all the same, that is a presentation, which is never looked at.
    StallBeforeLastByte,
    /// This answer when all of the body but its last byte is there; the connection stays open to see whether
    /// that byte still comes, which would be a presentation.
    AnswerBeforeLastByte {
        /// The HTTP status.
        status: u16,
        /// Headers besides `Content-Length`.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body, sent as it stands.
        #[serde(default)]
        body: Body,
    },
    /// The whole request is taken in, and then this.
    AfterRequest {
        /// What becomes of the refresh token or code.
        #[serde(default)]
        spend: Spend,
        /// What the client gets.
        #[serde(default)]
        answer: Answer,
    },
}

impl Fault {
    /// The refresh token or code is spent as usual, but the client gets this.
    pub fn spent(answer: Answer) -> Fault {
        Fault::AfterRequest { spend: Spend::Yes, answer }
    }

    /// The refresh token or code is not spent, and the client gets this.
    pub fn unspent(answer: Answer) -> Fault {
        Fault::AfterRequest { spend: Spend::No, answer }
    }

    /// The client gets this, and the refresh token or code is spent this long after the request.
    pub fn spent_later(after: Duration, answer: Answer) -> Fault {
        Fault::AfterRequest { spend: Spend::Later(after), answer }
    }

    pub(super) fn phase(&self) -> Phase {
        match self {
            Fault::CloseAtAccept | Fault::ResetAtAccept | Fault::StallAtAccept => Phase::Accept,
            Fault::ResetBeforeLastByte | Fault::StallBeforeLastByte | Fault::AnswerBeforeLastByte { .. } => {
                Phase::BeforeLastByte
            }
            Fault::AfterRequest { .. } => Phase::AfterRequest,
        }
    }

    /// What it does, for the ledger; shows no body.
    pub(super) fn describe(&self) -> String {
        match self {
            Fault::CloseAtAccept => "closed at accept".to_owned(),
            Fault::ResetAtAccept => "reset at accept".to_owned(),
            Fault::StallAtAccept => "never read".to_owned(),
            Fault::ResetBeforeLastByte => "reset before the last byte".to_owned(),
            Fault::StallBeforeLastByte => "stalled before the last byte".to_owned(),
            Fault::AnswerBeforeLastByte { status, .. } => format!("answered {status} before the last byte"),
            Fault::AfterRequest { spend, answer } => format!("{}, {}", spend.describe(), answer.describe()),
        }
    }
}

/// What becomes of the refresh token or code that was presented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spend {
    /// It is judged, and if valid spent, before anything is answered.
    #[default]
    Yes,
    /// It is not looked at. A [`Answer::Normal`] answer is then a gateway's 503.
    No,
    /// It is judged this long after the request, even if the client has gone by then. An answer that tells the
    /// result waits for it; any other does not.
    Later(#[serde(with = "duration")] Duration),
    /// A new access token is made, and the refresh token stays as it is and is handed out again. For a code, which
    /// is never handed out again, the same as `Yes`.
    WithoutRotation,
}

impl Spend {
    fn describe(self) -> String {
        match self {
            Spend::Yes => "looked at".to_owned(),
            Spend::No => "not looked at".to_owned(),
            Spend::Later(after) => format!("looked at {} later", humantime::format_duration(after)),
            Spend::WithoutRotation => "not rotated".to_owned(),
        }
    }
}

/// What the client gets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// The answer as it should be.
    #[default]
    Normal,
    /// FIN, and not a byte before it.
    CloseWithoutAnswer,
    /// RST, and not a byte before it.
    Reset,
    /// Nothing, until the client goes.
    Stall,
    /// The answer as it should be, this much later.
    Delayed(#[serde(with = "duration")] Duration),
    /// The answer as it should be, when [`release`](super::Simulator::release) is called.
    Held,
    /// The body breaks off.
    Truncated {
        /// After this many of its bytes.
        after: usize,
        /// How the connection ends then.
        #[serde(default)]
        ending: Ending,
        /// What the head says of the body's length.
        #[serde(default)]
        length: Length,
    },
    /// The head breaks off.
    TruncatedHead {
        /// After this many of its bytes; past its end, after the whole head.
        after: usize,
        /// How the connection ends then.
        #[serde(default)]
        ending: Ending,
    },
    /// The answer as it should be, head and body, one byte at a time.
    Dripped {
        /// The wait before each byte.
        #[serde(with = "duration")]
        per_byte: Duration,
    },
    /// Anything. In the body `{access_token}` and `{refresh_token}` stand for the tokens just made (if none were
    /// made, for those of the set presented) and `{old_refresh_token}` for what was presented. A request that is
    /// refused gets its refusal instead, if the body has a placeholder.
    Custom {
        /// The HTTP status.
        status: u16,
        /// Headers; `Content-Length` is added unless it or `Transfer-Encoding` is among them.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body.
        #[serde(default)]
        body: Body,
    },
    /// A body without end, until the client goes.
    Endless,
    /// The answer as it should be, after one header of this size.
    HugeHeader {
        /// Its size.
        bytes: usize,
    },
    /// Go elsewhere.
    Redirect {
        /// The HTTP status, such as 307.
        status: u16,
        /// Where to; without it, to a place of the simulator's own on another port, which keeps count.
        #[serde(default)]
        location: Option<String>,
    },
}

impl Answer {
    /// This status and body, without headers of its own.
    pub fn custom(status: u16, body: impl Into<Body>) -> Answer {
        Answer::Custom { status, headers: Vec::new(), body: body.into() }
    }

    fn describe(&self) -> String {
        match self {
            Answer::Normal => "answered as usual".to_owned(),
            Answer::CloseWithoutAnswer => "closed without an answer".to_owned(),
            Answer::Reset => "reset".to_owned(),
            Answer::Stall => "never answered".to_owned(),
            Answer::Delayed(by) => format!("answered {} later", humantime::format_duration(*by)),
            Answer::Held => "answer held until released".to_owned(),
            Answer::Truncated { after, .. } => format!("body cut after {after} bytes"),
            Answer::TruncatedHead { after, .. } => format!("head cut after {after} bytes"),
            Answer::Dripped { per_byte } => {
                format!("one byte every {}", humantime::format_duration(*per_byte))
            }
            Answer::Custom { status, .. } => format!("answered {status} with a body of its own"),
            Answer::Endless => "answered without end".to_owned(),
            Answer::HugeHeader { bytes } => format!("answered with a header of {bytes} bytes"),
            Answer::Redirect { status, .. } => format!("redirected with {status}"),
        }
    }
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// In order.
    #[default]
    Fin,
    /// By a reset.
    Rst,
}

/// What a head says of its body's length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// `Content-Length` of the whole, so that the client can see that something is missing.
    #[default]
    Told,
    /// Nothing: the body ends where the connection does, so that the client cannot see it.
    CloseDelimited,
}

/// The bytes of a body: in JSON a string, or a list of numbers if they are not UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body(pub Vec<u8>);

impl From<&str> for Body {
    fn from(text: &str) -> Body {
        Body(text.as_bytes().to_vec())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Body(text.into_bytes())
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body(bytes)
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Body, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a body must be a string or a list of numbers from 0 to 255")]
        enum Written {
            Text(String),
            Bytes(Vec<u8>),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Text(text) => Body(text.into_bytes()),
            Written::Bytes(bytes) => Body(bytes),
        })
    }
}

/// When a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Accept,
    BeforeLastByte,
    AfterRequest,
}
