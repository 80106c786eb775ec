//! Who is on the stage: the OAs of the demo and their apps.

use std::time::Duration;

/// An OA of the demo.
pub(super) struct Shop {
    pub(super) oa_id: &'static str,
    pub(super) app_id: &'static str,
    /// At the start. No name is longer than 12 characters: the columns are that wide.
    pub(super) name: &'static str,
    /// When its first set is to be refreshed, after it was granted. Spread, so that there is always something to see.
    pub(super) first_refresh: Duration,
}

/// A shop with an app of its own, so that what happens to it says nothing about the others' endpoint.
const fn shop(oa_id: &'static str, app_id: &'static str, name: &'static str, first_refresh_ms: u64) -> Shop {
    Shop { oa_id, app_id, name, first_refresh: Duration::from_millis(first_refresh_ms) }
}

/// Several branches share this app. They are due one shortly after the other.
pub(super) const CHAIN: &str = "200";
const CHAIN_NAME: &str = "Phở Bắc";

/// All of them; the last one comes with a reload.
pub(super) const SHOPS: [Shop; 10] = [
    shop("1001", "101", "Shop Hoa", 800),
    shop("1002", "102", "Trà Sen", 1_600),
    shop("1003", "103", "Bánh Mì Ba", 2_400),
    shop("1004", "104", "Cà Phê Sáng", 3_200),
    shop("1005", "105", "Áo Dài Mai", 4_000),
    shop("1006", "106", "Nhà Sách Lá", 4_800),
    shop("2001", CHAIN, "Phở Bắc 1", 2_800),
    shop("2002", CHAIN, "Phở Bắc 2", 3_000),
    shop("2003", CHAIN, "Phở Bắc 3", 3_400),
    shop("1007", "107", "Gốm Bát", 1_000),
];

/// The one that a reload adds.
pub(super) const NEWCOMER: usize = SHOPS.len() - 1;

/// The one that a reload renames, and how.
pub(super) const RENAMED: (usize, &str) = (5, "Sách Lá Mới");

/// Which OA this is.
pub(super) fn place_of(oa_id: &str) -> Option<usize> {
    SHOPS.iter().position(|shop| shop.oa_id == oa_id)
}

/// The places of the chain's branches.
pub(super) fn branches() -> impl Iterator<Item = usize> {
    (0..SHOPS.len()).filter(|place| is_branch(*place))
}

pub(super) fn is_branch(place: usize) -> bool {
    SHOPS[place].app_id == CHAIN
}

/// What people call this app.
pub(super) fn app_name(app_id: &str) -> &'static str {
    match SHOPS.iter().find(|shop| shop.app_id == app_id) {
        Some(_) if app_id == CHAIN => CHAIN_NAME,
        Some(shop) => shop.name,
        None => "",
    }
}
