//! Freeze windows: times of the local clock at which nothing is done.

use std::fmt;

use aiops_core::jiff::Timestamp;
use aiops_core::jiff::civil::Weekday;
use aiops_core::jiff::tz::TimeZone;

/// Minutes of a day.
pub(super) const DAY: u16 = 24 * 60;

/// The days of a week, as a policy names them.
pub(super) const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// A daily window `[from, to)` of one time zone's wall clock.
///
/// It is on whenever that clock shows a time in it, so a night in which the clock is set back
/// freezes for the repeated hour too, and one in which it is set forward freezes for the rest. A
/// window whose end is not after its beginning goes over midnight and belongs to the day on which it
/// began.
#[derive(Debug, Clone, PartialEq)]
pub struct Freeze {
    pub(super) from: u16,
    pub(super) to: u16,
    pub(super) zone: TimeZone,
    /// Bit 0 is Monday.
    pub(super) days: u8,
}

impl Freeze {
    /// Whether nothing may run now.
    #[must_use]
    pub fn is_on(&self, now: Timestamp) -> bool {
        let local = self.zone.to_datetime(now);
        let minute = u16::try_from(i16::from(local.hour()) * 60 + i16::from(local.minute())).unwrap_or(0);
        let today = self.has(local.weekday());
        if self.from < self.to {
            return today && (self.from..self.to).contains(&minute);
        }
        (today && minute >= self.from) || (self.has(local.weekday().previous()) && minute < self.to)
    }

    fn has(&self, day: Weekday) -> bool {
        self.days & bit(day) != 0
    }
}

pub(super) fn bit(day: Weekday) -> u8 {
    1 << day.to_monday_zero_offset()
}

impl fmt::Display for Freeze {
    /// `22:00-06:00 Europe/Berlin mon,tue`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let zone = self.zone.iana_name().unwrap_or("UTC");
        write!(f, "{}-{} {zone}", clock(self.from), clock(self.to))?;
        let days: Vec<&str> = DAYS.iter().filter(|(_, day)| self.has(*day)).map(|(name, _)| *name).collect();
        if days.len() < DAYS.len() { write!(f, " {}", days.join(",")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use crate::Policy;

    fn on(freeze: &str, at: &str) -> bool {
        let policy = Policy::from_yaml(&format!("freeze: [{freeze}]"), "policy.yaml").unwrap();
        policy.freeze[0].is_on(at.parse().unwrap())
    }

    #[test]
    fn windows_are_half_open_and_local() {
        let day = "{from: 09:00, to: 17:00, tz: Europe/Berlin}";
        // In winter Berlin is one hour ahead of UTC.
        for (at, expected) in [("07:59", false), ("08:00", true), ("15:59", true), ("16:00", false)] {
            assert_eq!(on(day, &format!("2025-01-15T{at}:00Z")), expected, "{at}");
        }
        assert!(on("{from: 00:00, to: 24:00, days: [wed]}", "2025-01-15T23:59:59Z"));
        assert!(!on("{from: 00:00, to: 24:00, days: [wed]}", "2025-01-16T00:00:00Z"));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_began_on() {
        let night = "{from: 22:00, to: 06:00, days: [fri]}";
        assert!(on(night, "2025-01-17T22:00:00Z"));
        assert!(on(night, "2025-01-18T05:59:00Z"));
        assert!(!on(night, "2025-01-18T06:00:00Z"));
        assert!(!on(night, "2025-01-18T22:00:00Z"));
        assert!(!on(night, "2025-01-17T05:00:00Z"));
    }

    #[test]
    fn the_wall_clock_decides_when_it_is_set() {
        let night = "{from: 02:00, to: 03:00, tz: Europe/Berlin}";
        // Set back on 26 October 2025: 02:00 to 03:00 comes twice (00:00Z to 02:00Z).
        for (at, expected) in [("00:00", true), ("01:30", true), ("02:00", false)] {
            assert_eq!(on(night, &format!("2025-10-26T{at}:00Z")), expected, "{at}");
        }
        // Set forward on 30 March 2025: 02:00 to 03:00 does not come at all.
        for at in ["00:59", "01:00", "01:30"] {
            assert!(!on(night, &format!("2025-03-30T{at}:00Z")), "{at}");
        }
        let long = "{from: 02:30, to: 05:00, tz: Europe/Berlin}";
        assert!(on(long, "2025-03-30T01:00:00Z"), "03:00 is in the window");
    }
}
