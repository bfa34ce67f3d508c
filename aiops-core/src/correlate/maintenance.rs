//! Maintenance windows: times in which a person expects noise.

use std::fmt;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use crate::names::ServiceName;

/// One window. `services` are exact names; `*` is every service that has a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum MaintenanceWindow {
    /// Once: `[from, to)`.
    Once {
        /// Start.
        from: Timestamp,
        /// End, not part of it.
        to: Timestamp,
        /// What it covers.
        services: Vec<ServiceName>,
    },
    /// Again and again, by local time; over midnight where `to` is not after `from`.
    Weekly {
        /// Days on which it starts: `mon` … `sun`; empty = every day.
        #[serde(default)]
        days: Vec<Day>,
        /// Local start, `22:00`.
        from: LocalTime,
        /// Local end, not part of it; `24:00` is midnight.
        to: LocalTime,
        /// IANA zone, `Europe/Berlin`.
        tz: String,
        /// What it covers.
        services: Vec<ServiceName>,
    },
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    fn is(self, weekday: Weekday) -> bool {
        self as i8 + 1 == weekday.to_monday_one_offset()
    }
}

/// A local time of day, `00:00` to `24:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LocalTime {
    minutes: i16,
}

impl TryFrom<String> for LocalTime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let refuse = || format!("not a time of day: {:?}; write hours and minutes, such as \"22:30\"", text);
        let (hours, minutes) = text.split_once(':').ok_or_else(refuse)?;
        let two = |part: &str| (part.len() == 2).then(|| part.parse::<i16>().ok()).flatten();
        let (hours, minutes) = (two(hours).ok_or_else(refuse)?, two(minutes).ok_or_else(refuse)?);
        let total = hours * 60 + minutes;
        if minutes > 59 || !(0..=24 * 60).contains(&total) {
            return Err(refuse());
        }
        Ok(Self { minutes: total })
    }
}

impl From<LocalTime> for String {
    fn from(time: LocalTime) -> Self {
        format!("{:02}:{:02}", time.minutes / 60, time.minutes % 60)
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(*self))
    }
}

/// Windows that passed the check. Swap them while in use through [`Live`](crate::Live).
#[derive(Debug, Clone, Default)]
pub struct MaintenanceWindows {
    windows: Vec<(MaintenanceWindow, Option<TimeZone>)>,
}

/// Windows that cannot work: every fault, each with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("maintenance windows: {}", .0.join("; "))]
pub struct InvalidMaintenanceWindows(Vec<String>);

impl MaintenanceWindows {
    /// Checks windows and looks up their zones.
    ///
    /// # Errors
    /// A window without a service or with an empty name, one that ends before it starts, an unknown
    /// zone: all faults at once.
    pub fn new(windows: impl IntoIterator<Item = MaintenanceWindow>) -> Result<Self, InvalidMaintenanceWindows> {
        let mut faults = Vec::new();
        let mut checked = Vec::new();
        for (index, window) in windows.into_iter().enumerate() {
            let services = match &window {
                MaintenanceWindow::Once { services, .. } | MaintenanceWindow::Weekly { services, .. } => services,
            };
            if services.is_empty() || services.iter().any(ServiceName::is_empty) {
                faults.push(format!("[{index}].services: names no service; write [\"*\"] for all"));
            }
            let zone = match &window {
                MaintenanceWindow::Once { from, to, .. } => {
                    if from >= to {
                        faults.push(format!("[{index}].to: {to} is not after {from}"));
                    }
                    None
                }
                MaintenanceWindow::Weekly { from, to, tz, .. } => {
                    if from == to {
                        faults.push(format!("[{index}].to: {to} equals from; for a whole day write 00:00 to 24:00"));
                    }
                    match TimeZone::get(tz) {
                        Ok(zone) => Some(zone),
                        Err(_) => {
                            let tz = crate::text::clip(tz, 60);
                            faults.push(format!(
                                "[{index}].tz: {tz:?} is no IANA time zone; write \"Europe/Berlin\", say"
                            ));
                            None
                        }
                    }
                }
            };
            checked.push((window, zone));
        }
        if faults.is_empty() { Ok(Self { windows: checked }) } else { Err(InvalidMaintenanceWindows(faults)) }
    }

    /// Adds one-off windows that a person set while running, and forgets those that ended before
    /// `now`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_once(
        &self,
        from: Timestamp,
        to: Timestamp,
        services: Vec<ServiceName>,
        now: Timestamp,
    ) -> Result<Self, InvalidMaintenanceWindows> {
        let kept = self.windows.iter().map(|(window, _)| window.clone());
        let kept = kept.filter(|window| !matches!(window, MaintenanceWindow::Once { to, .. } if *to <= now));
        Self::new(kept.chain([MaintenanceWindow::Once { from, to, services }]))
    }

    /// The name of the window that covers a service at a time.
    #[must_use]
    pub fn covering(&self, service: &ServiceName, at: Timestamp) -> Option<String> {
        if service.is_empty() {
            return None;
        }
        let names = |services: &[ServiceName]| services.iter().any(|name| name == service || *name == "*");
        self.windows.iter().find_map(|(window, zone)| match (window, zone) {
            (MaintenanceWindow::Once { from, to, services }, _) => {
                (names(services) && *from <= at && at < *to).then(|| format!("maintenance {from}..{to}"))
            }
            (MaintenanceWindow::Weekly { days, from, to, tz, services }, Some(zone)) => (names(services)
                && weekly_covers(days, *from, *to, zone, at))
            .then(|| format!("maintenance {from}-{to} {tz}")),
            (MaintenanceWindow::Weekly { .. }, None) => None,
        })
    }
}

/// Whether `at` lies in a window that started today or yesterday, local time.
///
/// A start or end in the hour that a change to summer time leaves out moves on by that hour; in the
/// hour that a change back doubles, the start is the first and the end the second of the two, so that
/// the window covers both.
fn weekly_covers(days: &[Day], from: LocalTime, to: LocalTime, zone: &TimeZone, at: Timestamp) -> bool {
    let today = at.to_zoned_datetime(zone.clone()).date();
    [Some(today), today.yesterday().ok()].into_iter().flatten().any(|day| {
        if !days.is_empty() && !days.iter().any(|wanted| wanted.is(day.weekday())) {
            return false;
        }
        let local = |time: LocalTime, add_day: bool| {
            let full = time.minutes / (24 * 60) + i16::from(add_day);
            let minutes = time.minutes % (24 * 60);
            let time = Time::new((minutes / 60) as i8, (minutes % 60) as i8, 0, 0).ok()?;
            day.checked_add(i64::from(full).days()).ok().map(|date| date.to_datetime(time))
        };
        let over_midnight = to <= from;
        let start = local(from, false).and_then(|t| zone.to_ambiguous_timestamp(t).compatible().ok());
        let end = local(to, over_midnight).and_then(|t| zone.to_ambiguous_timestamp(t).later().ok());
        matches!((start, end), (Some(start), Some(end)) if start <= at && at < end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(json: &str) -> Result<MaintenanceWindows, InvalidMaintenanceWindows> {
        MaintenanceWindows::new(serde_json::from_str::<Vec<MaintenanceWindow>>(json).unwrap())
    }

    fn covers(windows: &MaintenanceWindows, at: &str) -> bool {
        windows.covering(&"db".into(), at.parse().unwrap()).is_some()
    }

    #[test]
    fn once_is_half_open_and_names_services() {
        let windows =
            windows(r#"[{"from":"2026-01-01T00:00:00Z","to":"2026-01-01T01:00:00Z","services":["db"]}]"#).unwrap();
        assert!(covers(&windows, "2026-01-01T00:00:00Z"));
        assert!(!covers(&windows, "2026-01-01T01:00:00Z"));
        assert!(windows.covering(&"web".into(), "2026-01-01T00:30:00Z".parse().unwrap()).is_none());
        assert!(windows.covering(&"".into(), "2026-01-01T00:30:00Z".parse().unwrap()).is_none());
    }

    #[test]
    fn over_midnight_belongs_to_the_day_on_which_it_starts() {
        let windows = windows(r#"[{"days":["fri"],"from":"22:00","to":"02:00","tz":"UTC","services":["*"]}]"#).unwrap();
        assert!(covers(&windows, "2026-01-02T22:00:00Z"), "friday");
        assert!(covers(&windows, "2026-01-03T01:59:59Z"), "saturday morning");
        assert!(!covers(&windows, "2026-01-03T02:00:00Z"));
        assert!(!covers(&windows, "2026-01-03T22:30:00Z"), "saturday evening");
    }

    #[test]
    fn ends_at_24() {
        let windows = windows(r#"[{"from":"20:00","to":"24:00","tz":"Europe/Berlin","services":["db"]}]"#).unwrap();
        assert!(covers(&windows, "2026-01-02T22:59:59Z"));
        assert!(!covers(&windows, "2026-01-02T23:00:00Z"));
    }

    #[test]
    fn the_missing_hour_of_2026_03_29() {
        // At 01:00 UTC clocks in Berlin go from 02:00 to 03:00.
        let windows = windows(r#"[{"from":"01:30","to":"03:30","tz":"Europe/Berlin","services":["db"]}]"#).unwrap();
        assert!(!covers(&windows, "2026-03-29T00:29:59Z"));
        assert!(covers(&windows, "2026-03-29T00:30:00Z"));
        assert!(covers(&windows, "2026-03-29T01:29:59Z"), "03:29:59 summer time");
        assert!(!covers(&windows, "2026-03-29T01:30:00Z"), "03:30 summer time: one hour in all");
        let missing = windows_at("02:15", "02:45");
        assert!(!covers(&missing, "2026-03-29T00:50:00Z"), "a window inside the missing hour does not begin before it");
        assert!(covers(&missing, "2026-03-30T00:20:00Z"), "and is back the next day");
    }

    fn windows_at(from: &str, to: &str) -> MaintenanceWindows {
        windows(&format!(r#"[{{"from":"{from}","to":"{to}","tz":"Europe/Berlin","services":["db"]}}]"#)).unwrap()
    }

    #[test]
    fn the_doubled_hour_of_2026_10_25() {
        // At 01:00 UTC clocks in Berlin go from 03:00 back to 02:00.
        let windows = windows_at("02:00", "03:00");
        assert!(!covers(&windows, "2026-10-24T23:59:59Z"));
        assert!(covers(&windows, "2026-10-25T00:00:00Z"), "02:00 summer time");
        assert!(covers(&windows, "2026-10-25T01:59:59Z"), "02:59:59 winter time");
        assert!(!covers(&windows, "2026-10-25T02:00:00Z"));
    }

    #[test]
    fn every_fault_at_once() {
        let error = windows(
            r#"[{"from":"2026-01-01T00:00:00Z","to":"2026-01-01T00:00:00Z","services":[]},
                {"from":"10:00","to":"10:00","tz":"Mars/Olympus","services":["a"]}]"#,
        )
        .unwrap_err();
        assert_eq!(error.0.len(), 4, "{error}");
        for bad in
            [r#"[{"from":"25:00","to":"1:00","tz":"UTC","services":["a"]}]"#, r#"[{"from":"1","services":["a"]}]"#]
        {
            assert!(serde_json::from_str::<Vec<MaintenanceWindow>>(bad).is_err(), "{bad}");
        }
    }
}
