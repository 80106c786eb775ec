//! What is said of each end that a consent can come to, in both languages: a heading, and sentences.

use super::Told;
use crate::page::lang::Lang;

impl Told<'_> {
    pub(super) fn heading(&self, lang: Lang) -> &'static str {
        match self {
            Told::Granted { .. } => lang.pick("Đã cấp quyền xong", "Authorized"),
            Told::Checking { .. } => lang.pick("Đang kiểm tra với Zalo", "Checking with Zalo"),
            Told::InProgress { .. } => lang.pick("Đang xử lý", "In progress"),
            Told::AlreadyGranted { .. } => lang.pick("Đã được cấp quyền từ trước", "Authorized already"),
            Told::Declined { .. } => lang.pick("Chưa được đồng ý", "Not agreed to"),
            Told::OtherOa { .. } => lang.pick("Nhầm Official Account", "Another Official Account"),
            Told::UnknownState => lang.pick("Không nhận ra địa chỉ này", "This address is not known"),
            Told::StateExpired { .. } => lang.pick("Đã quá thời gian", "It took too long"),
            Told::CodeRefused { .. } => {
                lang.pick("Zalo không nhận mã cấp quyền", "Zalo does not take the code")
            }
            Told::AnswerLost { .. } => {
                lang.pick("Không nhận được câu trả lời của Zalo", "Zalo's answer did not arrive")
            }
            Told::NotReached { .. } => lang.pick("Chưa liên lạc được với Zalo", "Zalo cannot be reached"),
            Told::AppRefused { .. } => lang.pick("Zalo từ chối ứng dụng", "Zalo refuses the app"),
            Told::LinkInvalid => lang.pick("Liên kết không dùng được", "This link does not work"),
            Told::LinkExpired => lang.pick("Liên kết đã hết hạn", "This link has expired"),
            Told::NotNow { .. } => lang.pick("Hiện chưa làm được", "Not possible now"),
            Told::Stopping => lang.pick("Hệ thống đang tạm dừng", "The system is stopping"),
        }
    }

    pub(super) fn lines(&self, lang: Lang) -> [&'static str; 2] {
        match self {
            Told::Granted { .. } => [
                lang.pick(
                    "Zalo đã cấp quyền, và quyền đã được lưu lại chắc chắn.",
                    "Zalo has granted it, and it is safely stored.",
                ),
                lang.pick(
                    "Bạn không phải làm gì thêm và có thể đóng trang này.",
                    "There is nothing more for you to do. You may close this page.",
                ),
            ],
            Told::Checking { .. } => [
                lang.pick(
                    "Zalo đã cấp quyền, và quyền đã được lưu lại. Hệ thống đang hỏi Zalo xem quyền này có đúng là của OA trên không.",
                    "Zalo has granted it, and it is stored. Zalo is being asked whether it is this OA's.",
                ),
                wait(lang),
            ],
            Told::InProgress { .. } => [
                lang.pick(
                    "Hệ thống đang nhận quyền từ Zalo. Không có gì bị mất, và không cần bấm lại.",
                    "What Zalo granted is being collected. Nothing is lost, and there is no need to click again.",
                ),
                wait(lang),
            ],
            Told::AlreadyGranted { .. } => [
                lang.pick(
                    "Lần cấp quyền này đã hoàn tất từ trước. Không có gì thay đổi, cũng không có gì bị mất.",
                    "This authorization was completed before. Nothing was changed, and nothing is lost.",
                ),
                lang.pick(
                    "Bạn không phải làm gì và có thể đóng trang này.",
                    "There is nothing for you to do. You may close this page.",
                ),
            ],
            Told::Declined { .. } => [
                lang.pick(
                    "Zalo cho biết yêu cầu cấp quyền đã không được đồng ý. Không có gì thay đổi.",
                    "Zalo says that the request was not agreed to. Nothing was changed.",
                ),
                lang.pick(
                    "Nếu là nhầm lẫn, hãy mở lại liên kết bạn đã nhận và đồng ý trên trang của Zalo.",
                    "If that was a mistake, open the link that you were given again and agree on Zalo's page.",
                ),
            ],
            Told::OtherOa { .. } => [
                lang.pick(
                    "Trên trang của Zalo, quyền đã được cấp cho một OA khác. Nó không được nhận; không có gì thay đổi.",
                    "On Zalo's page another OA was chosen. It was not taken; nothing was changed.",
                ),
                lang.pick(
                    "Hãy mở lại liên kết bạn đã nhận và chọn đúng OA nêu trên.",
                    "Open the link that you were given again and choose the OA named above.",
                ),
            ],
            Told::UnknownState => [
                lang.pick(
                    "Địa chỉ này không thuộc lần cấp quyền nào do hệ thống bắt đầu. Không có gì thay đổi.",
                    "This address belongs to no authorization that was begun here. Nothing was changed.",
                ),
                from_the_link(lang),
            ],
            Told::StateExpired { .. } => [
                lang.pick(
                    "Mỗi lần cấp quyền phải xong trong vòng 10 phút. Mã mà Zalo gửi về đã không được dùng; không có gì bị mất.",
                    "An authorization has to be completed within 10 minutes. The code that Zalo sent was not used; nothing is lost.",
                ),
                from_the_link(lang),
            ],
            Told::CodeRefused { .. } => [
                lang.pick(
                    "Zalo không nhận mã mà chính Zalo vừa gửi về: có thể mã đã hết hạn hoặc đã được dùng. Những gì được lưu từ trước vẫn còn nguyên.",
                    "Zalo does not take the code that it sent: it may have expired, or been used. What was stored before is kept.",
                ),
                from_the_link(lang),
            ],
            Told::AnswerLost { .. } => [
                lang.pick(
                    "Mã đã được gửi đi, nhưng câu trả lời của Zalo không tới nơi, và mỗi mã chỉ dùng được một lần. Những gì được lưu từ trước vẫn còn nguyên.",
                    "The code was sent, but Zalo's answer did not arrive, and a code can be used once. What was stored before is kept.",
                ),
                lang.pick(
                    "Xin lỗi vì sự bất tiện: hãy mở lại liên kết bạn đã nhận và cấp quyền thêm một lần.",
                    "We are sorry: please open the link that you were given again and authorize once more.",
                ),
            ],
            Told::NotReached { .. } => [
                lang.pick(
                    "Mã của Zalo chưa được gửi đi, nên chưa có gì bị mất.",
                    "Zalo's code has not been sent yet, so nothing is lost.",
                ),
                lang.pick(
                    "Hãy thử lại trong vài phút tới: mã chỉ sống 10 phút. Quá hạn thì mở lại liên kết bạn đã nhận.",
                    "Try again within the next minutes: the code lives 10 minutes. After that, open the link that you were given again.",
                ),
            ],
            Told::AppRefused { .. } => [
                lang.pick(
                    "Zalo không chấp nhận mã ứng dụng hoặc khoá bí mật mà hệ thống đang dùng. Bạn không làm gì sai; những gì được lưu từ trước vẫn còn nguyên.",
                    "Zalo does not accept the app's id or secret key that the system uses. You did nothing wrong; what was stored before is kept.",
                ),
                lang.pick(
                    "Hãy báo cho người vận hành hệ thống. Khi họ sửa xong, hãy mở lại liên kết bạn đã nhận.",
                    "Tell whoever runs the system. Once it is mended, open the link that you were given again.",
                ),
            ],
            Told::LinkInvalid => [
                lang.pick(
                    "Liên kết này bị thiếu một phần, hoặc không phải do hệ thống tạo ra. Không có gì thay đổi.",
                    "A part of this link is missing, or it was not made here. Nothing was changed.",
                ),
                lang.pick(
                    "Hãy mở nguyên vẹn liên kết bạn đã nhận, hoặc xin một liên kết mới.",
                    "Open the whole link that you were given, or ask for a new one.",
                ),
            ],
            Told::LinkExpired => [
                lang.pick(
                    "Mỗi liên kết chỉ dùng được trong một thời gian. Không có gì thay đổi.",
                    "Each link works for a limited time. Nothing was changed.",
                ),
                lang.pick(
                    "Hãy xin một liên kết mới từ người đã gửi liên kết này.",
                    "Ask whoever sent it for a new one.",
                ),
            ],
            Told::NotNow { .. } => [
                lang.pick("Không có gì bị mất.", "Nothing is lost."),
                lang.pick(
                    "Hãy thử lại sau ít phút; nếu vẫn vậy, hãy báo cho người vận hành hệ thống.",
                    "Try again in a few minutes; if it stays so, tell whoever runs the system.",
                ),
            ],
            Told::Stopping => [
                lang.pick(
                    "Hệ thống đang dừng hoặc khởi động lại. Không có gì bị mất.",
                    "It is being stopped or started again. Nothing is lost.",
                ),
                lang.pick("Hãy thử lại sau một phút.", "Try again in a minute."),
            ],
        }
    }

    /// May it go better if the page is loaded again?
    pub(super) fn is_worth_another_try(&self) -> bool {
        matches!(self, Told::NotReached { .. } | Told::NotNow { .. } | Told::Stopping)
    }
}

/// For pages that load themselves again.
fn wait(lang: Lang) -> &'static str {
    lang.pick(
        "Trang này tự tải lại sau vài giây; bạn không phải làm gì.",
        "This page loads itself again in a few seconds; there is nothing for you to do.",
    )
}

fn from_the_link(lang: Lang) -> &'static str {
    lang.pick("Hãy bắt đầu lại từ liên kết bạn đã nhận.", "Begin again with the link that you were given.")
}
