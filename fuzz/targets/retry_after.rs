//! The header `Retry-After`.

use std::time::Duration;

use zalo_tokend::clock::Time;
use zalo_tokend::rotation::{Roll, Timing, longest_retry_after, throttled_wait};
use zalo_tokend::zalo::read_retry_after;

pub fn check(bytes: &[u8]) {
    let Ok(value) = std::str::from_utf8(bytes) else { return };
    let now = Time::from_millis(1_800_000_000_000);
    let asked = read_retry_after(value, now);
    assert_eq!(read_retry_after(&format!(" {value}\t"), now), asked, "blanks around it");
    if let Ok(seconds) = value.parse::<u32>()
        && !value.starts_with('+')
    {
        assert_eq!(asked, Some(Duration::from_secs(u64::from(seconds))));
    }
    let timing = Timing::default();
    for (failures, roll) in [(0, Roll(0.0)), (u32::MAX, Roll(0.999_999))] {
        let wait = throttled_wait(&timing, asked, failures, roll);
        assert!(wait <= longest_retry_after() + timing.retry_max, "{wait:?}");
        assert!(wait >= asked.unwrap_or_default().min(longest_retry_after()), "{wait:?}");
        assert!(now.plus(wait) > now, "no wait at all");
    }
}
