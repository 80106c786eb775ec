//! How an OA stands, in words that the owner of a shop understands: what it is called, what that means, and by when something
//! has to be done.

use super::lang::Lang;
use super::words::{left, moment};
use crate::clock::Time;
use crate::store::{OaStatus, Reauthorization, State};

/// How much a state matters to who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// All is well.
    Well,
    /// Something is under way, by itself.
    Wait,
    /// A person has to do something.
    Act,
    /// It is of no concern.
    Off,
}

impl Tone {
    /// The style that shows it.
    pub(super) fn class(self) -> &'static str {
        match self {
            Tone::Well => "well",
            Tone::Wait => "wait",
            Tone::Act => "act",
            Tone::Off => "off",
        }
    }
}

/// How an OA stands.
pub(super) struct Said {
    pub(super) tone: Tone,
    /// What the state is called.
    pub(super) label: &'static str,
    /// What it means.
    pub(super) meaning: String,
}

pub(super) fn said(lang: Lang, oa: &OaStatus) -> Said {
    match &oa.reauthorization {
        Some(asked) => asked_for(lang, oa, asked),
        None => by_itself(lang, oa),
    }
}

/// Where a person is asked for something.
fn asked_for(lang: Lang, oa: &OaStatus, asked: &Reauthorization) -> Said {
    let label = match oa.state {
        State::Uncertain => lang.pick("Cần người quyết định", "Needs a decision"),
        State::AwaitingGrant if asked.reason == "awaiting_grant" => {
            lang.pick("Chưa được cấp quyền", "Not authorized yet")
        }
        State::Scheduled | State::Retrying | State::Presenting | State::Blocked => {
            lang.pick("Quyền sắp hết hạn", "Authorization ends soon")
        }
        State::AwaitingGrant | State::ReauthorizationRequired | State::Unmanaged => {
            lang.pick("Cần cấp quyền lại", "Needs authorization again")
        }
    };
    Said { tone: Tone::Act, label, meaning: why(lang, &asked.reason) }
}

/// Where none is.
fn by_itself(lang: Lang, oa: &OaStatus) -> Said {
    let (tone, label, meaning) = match oa.state {
        State::Scheduled if oa.vendor.is_some() => (
            Tone::Well,
            lang.pick("Hoạt động tốt", "Working"),
            lang.pick(
                "Nhà cung cấp giữ kết nối; bạn được nhắc khi đến lúc cấp quyền lại.",
                "The vendor keeps it connected; you are reminded when it is time to authorize again.",
            ),
        ),
        State::Retrying if oa.vendor.is_some() => (
            Tone::Wait,
            lang.pick("Đang hỏi nhà cung cấp", "Asking the vendor"),
            lang.pick(
                "Chưa lấy được liên kết cấp quyền; hệ thống tự hỏi lại.",
                "There is no link to authorize at yet; the vendor is asked again.",
            ),
        ),
        State::Blocked if oa.vendor.is_some() => (
            Tone::Act,
            lang.pick("Nhà cung cấp từ chối", "Vendor refuses"),
            lang.pick(
                "Nhà cung cấp không nhận khoá API. Người vận hành hệ thống phải sửa; cấp quyền lại không giúp được.",
                "The vendor refuses the API key. Whoever runs the system has to mend it; to authorize again does not help.",
            ),
        ),
        State::Scheduled => (
            Tone::Well,
            lang.pick("Hoạt động tốt", "Working"),
            lang.pick("Tự gia hạn; bạn không phải làm gì.", "It renews itself; there is nothing for you to do."),
        ),
        State::Retrying => (
            Tone::Wait,
            lang.pick("Đang thử lại", "Trying again"),
            lang.pick(
                "Lần gia hạn vừa rồi không thành. Không có gì bị mất; hệ thống tự thử lại.",
                "The last renewal did not succeed. Nothing is lost; it is tried again by itself.",
            ),
        ),
        State::Presenting => (
            Tone::Wait,
            lang.pick("Đang gia hạn", "Renewing now"),
            lang.pick("Thường chỉ mất vài giây.", "That usually takes a few seconds."),
        ),
        State::Uncertain => (
            Tone::Wait,
            lang.pick("Đang kiểm tra", "Being checked"),
            lang.pick(
                "Chưa rõ lần gia hạn vừa rồi có thành không; hệ thống đang hỏi lại Zalo.",
                "It is not known whether the last renewal succeeded; Zalo is being asked.",
            ),
        ),
        State::Blocked => (
            Tone::Act,
            lang.pick("Ứng dụng bị từ chối", "App refused"),
            lang.pick(
                "Zalo không nhận khoá bí mật của ứng dụng. Người vận hành hệ thống phải sửa; cấp quyền lại không giúp được.",
                "Zalo refuses the app's secret key. Whoever runs the system has to mend it; to authorize again does not help.",
            ),
        ),
        State::AwaitingGrant | State::ReauthorizationRequired => (
            Tone::Act,
            lang.pick("Cần cấp quyền lại", "Needs authorization again"),
            "",
        ),
        State::Unmanaged => (
            Tone::Off,
            lang.pick("Không còn được quản lý", "Not looked after any more"),
            lang.pick(
                "OA này không còn trong cấu hình; những gì đã lưu được giữ lại và không được gia hạn.",
                "The config does not have this OA any more; what was stored is kept and not renewed.",
            ),
        ),
    };
    Said { tone, label, meaning: meaning.to_owned() }
}

/// Why a person is asked.
fn why(lang: Lang, reason: &str) -> String {
    let known = match reason {
        "awaiting_grant" => lang.pick(
            "Chưa ai cấp quyền cho hệ thống giữ kết nối của OA này.",
            "Nobody has authorized the system to keep this OA connected yet.",
        ),
        "refresh_token_expiring" => lang.pick(
            "Quyền đã cấp sắp hết hạn và không được gia hạn.",
            "The authorization ends soon and is not being renewed.",
        ),
        "app_changed" => lang.pick(
            "OA đã được chuyển sang ứng dụng khác; quyền đã cấp cho ứng dụng cũ không dùng được.",
            "The OA was moved to another app; what was granted to the old one does not count there.",
        ),
        "response_lost" => lang.pick(
            "Zalo đã gia hạn, nhưng câu trả lời bị mất trên đường về.",
            "Zalo renewed it, but the answer was lost on its way.",
        ),
        "unprovable" => lang.pick(
            "Không còn cách nào biết lần gia hạn vừa rồi có thành không. Cấp quyền lại là cách chắc chắn.",
            "There is no way left to know whether the last renewal succeeded. To authorize again settles it.",
        ),
        "refresh_token_rejected" => lang.pick(
            "Zalo không còn nhận quyền đã cấp: nó đã hết hạn, bị thu hồi hoặc được dùng ở nơi khác.",
            "Zalo does not take the authorization any more: it ended, was withdrawn, or was used elsewhere.",
        ),
        "refresh_token_missing" | "refresh_token_repeated" => lang.pick(
            "Câu trả lời của Zalo thiếu thứ cần cho lần gia hạn sau.",
            "Zalo's answer lacked what the next renewal needs.",
        ),
        "consent_due" => lang.pick(
            "Quyền mà nhà cung cấp đang giữ sắp đến lúc phải cấp lại.",
            "What the vendor holds has to be authorized again soon.",
        ),
        "disconnected" => lang.pick(
            "Nhà cung cấp cho biết OA đã bị ngắt kết nối.",
            "The vendor says that the OA is disconnected.",
        ),
        "vendor_misconfigured" => lang.pick(
            "Nhà cung cấp không đưa ra được liên kết cấp quyền dùng được. Người vận hành hệ thống phải xem lại cấu hình.",
            "The vendor gives no link that can be used. Whoever runs the system has to look at its config.",
        ),
        "row_unreadable" => lang.pick(
            "Một phần dữ liệu đã lưu của OA này không đọc được.",
            "A part of what was stored of this OA cannot be read.",
        ),
        other => {
            return match lang {
                Lang::Vi => format!("Zalo liên tục không gia hạn được ({other})."),
                Lang::En => format!("Zalo keeps refusing to renew it ({other})."),
            };
        }
    };
    known.to_owned()
}

/// By when a person has to do something, and what happens else. `None`: nobody has to do anything.
pub(super) fn deadline(lang: Lang, oa: &OaStatus, now: Time) -> Option<String> {
    let asked = oa.reauthorization.as_ref()?;
    // Of the tokens that a vendor holds nobody here knows.
    let is_silent = !oa.access_token_valid && oa.vendor.is_none();
    let line = match asked.deadline {
        Some(deadline) if deadline <= now => {
            let at = moment(lang, deadline);
            match lang {
                Lang::Vi => format!("Đã quá hạn từ {at}. OA không gửi được tin."),
                Lang::En => format!("Overdue since {at}. The OA cannot send."),
            }
        }
        Some(deadline) if is_silent => {
            let (at, left) = (moment(lang, deadline), left(lang, deadline, now));
            match lang {
                Lang::Vi => format!("Hiện OA không gửi được tin. Hạn cấp quyền lại: {at} ({left})."),
                Lang::En => format!("The OA cannot send now. Authorize it by {at} ({left})."),
            }
        }
        Some(deadline) => {
            let (at, left) = (moment(lang, deadline), left(lang, deadline, now));
            match lang {
                Lang::Vi => format!("Hạn: {at} ({left}). Sau đó OA không gửi được tin."),
                Lang::En => format!("By {at} ({left}). After that the OA cannot send."),
            }
        }
        None if is_silent => lang.pick("Hiện OA không gửi được tin.", "The OA cannot send now.").to_owned(),
        None => return None,
    };
    Some(line)
}
