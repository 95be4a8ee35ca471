//! A cron pattern: when it comes next, and what in it surprises people. Pure: it is told the time and the zone.

use croner::{
    Cron, Weekday,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    civil::{Date, date},
    tz::TimeZone,
};
use packline_domain::Timestamp;

use crate::zoned::Local;

/// A field of a pattern: its name, how many values it has, and how often its first value alone comes round.
struct Field {
    name: &'static str,
    values: u32,
    once: &'static str,
}

const FIELDS: [Field; 6] = [
    Field { name: "second", values: 60, once: "once a minute" },
    Field { name: "minute", values: 60, once: "once an hour" },
    Field { name: "hour", values: 24, once: "once a day" },
    Field { name: "day of the month", values: 31, once: "once a month" },
    Field { name: "month", values: 12, once: "once a year" },
    Field { name: "day of the week", values: 7, once: "once a week" },
];

/// A cron pattern of five fields, or of six with seconds first, in a time zone.
#[derive(Clone, Debug)]
pub struct CronSchedule {
    text: String,
    cron: Cron,
    zone: TimeZone,
}

impl CronSchedule {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is no pattern, or one that never comes: one line that says what is wrong.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, String> {
        let text = text.trim();
        let fields = text.split_whitespace().count();
        if !text.starts_with('@') && fields != 5 && fields != 6 {
            return Err(format!(
                "{fields} fields; a cron pattern has 5 (minute, hour, day of the month, month, day of the week), \
                 or 6 with the second first"
            ));
        }
        if text.starts_with('@') && fields != 1 {
            return Err("a nickname like @hourly stands alone".to_owned());
        }
        let cron = parser().parse(text).map_err(|error| match text.strip_prefix('@') {
            Some(_) => "there are @hourly, @daily, @weekly, @monthly and @yearly; all else is a pattern".to_owned(),
            None => blame(text).unwrap_or_else(|| plain(&error)),
        })?;
        if !comes(&cron) {
            return Err("it never comes: there is no such day or time".to_owned());
        }
        Ok(Self { text: text.to_owned(), cron, zone })
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// When it comes first after `now`; `None` where never.
    ///
    /// A time of day that the change to summer time leaves out comes at the end of the gap; one that comes twice
    /// in autumn counts the first time. What recurs within the hour goes on through both.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let now = jiff::Timestamp::from_millisecond(now.as_millis()).ok()?;
        let next = self.cron.find_next_occurrence(&Local(now.to_zoned_datetime(self.zone.clone())), false).ok()?;
        Some(Timestamp::from_millis(next.0.timestamp().as_millisecond()))
    }

    /// A time as people in the zone write it.
    pub fn shown(&self, at: Timestamp) -> String {
        match jiff::Timestamp::from_millisecond(at.as_millis()) {
            Ok(at) => at.to_zoned_datetime(self.zone.clone()).strftime("%F %T %:z").to_string(),
            Err(_) => at.to_string(),
        }
    }

    /// One line where the pattern is taken by the standard and its author most likely meant something else: a step
    /// that is longer than its field.
    pub fn warning(&self) -> Option<String> {
        let fields: Vec<&str> = self.text.split_whitespace().collect();
        let names = FIELDS.iter().skip(FIELDS.len().checked_sub(fields.len())?);
        let (given, field, step) = fields.iter().zip(names).find_map(|(given, field)| {
            let step: u32 = given.strip_prefix("*/")?.parse().ok()?;
            (step > field.values).then_some((given, field, step))
        })?;
        let meant = match field.name {
            "second" => format!("every {step} seconds is POLL_INTERVAL={step}s"),
            "minute" => format!("every {step} minutes is POLL_INTERVAL={step}m"),
            "hour" if step < 60 => {
                format!("every {step} minutes is `*/{step} * * * *`, every {step} hours POLL_INTERVAL={step}h")
            }
            "hour" => format!("every {step} hours is POLL_INTERVAL={step}h"),
            "day of the month" => format!("every {step} days is POLL_INTERVAL={step}d"),
            _ => "a step is counted within its field".to_owned(),
        };
        let Field { name, once, .. } = field;
        Some(format!("POLL_CRON `{}`: `{given}` in the field {name} comes {once}; {meant}", self.text))
    }
}

/// Whether it has a time of day, and a day within the 400 years after which the calendar repeats. (Croner itself
/// would search for minutes until the year 5000.)
fn comes(cron: &Cron) -> bool {
    let pattern = &cron.pattern;
    let times = [&pattern.seconds, &pattern.minutes, &pattern.hours];
    let matches = |day: Date| {
        let part = |part: i8| u32::try_from(part).unwrap_or_default();
        let weekday = Weekday::from_days_from_sunday(part(day.weekday().to_sunday_zero_offset()));
        pattern.month_match(part(day.month())).unwrap_or(false)
            && pattern.day_match(day.year().into(), part(day.month()), part(day.day()), weekday).unwrap_or(false)
    };
    let days = std::iter::successors(Some(date(2000, 1, 1)), |day| day.tomorrow().ok());
    times.iter().all(|field| !field.values().is_empty()) && days.take_while(|day| day.year() < 2400).any(matches)
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build()
}

/// Which field is wrong: the one that croner refuses with `*` in all others.
fn blame(text: &str) -> Option<String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let names = FIELDS.iter().skip(FIELDS.len().checked_sub(fields.len())?);
    fields.iter().zip(names).enumerate().find_map(|(at, (given, field))| {
        let mut alone = vec!["*"; fields.len()];
        *alone.get_mut(at)? = given;
        let error = parser().parse(&alone.join(" ")).err()?;
        Some(format!("the {} `{given}`: {}", field.name, plain(&error)))
    })
}

/// What croner says, without the names of its own types.
fn plain(error: &croner::errors::CronError) -> String {
    let said = error.to_string();
    let said = ["Component error: ", "Pattern contains illegal characters: ", "Invalid pattern: "]
        .iter()
        .find_map(|prefix| said.strip_prefix(prefix))
        .unwrap_or(&said);
    said.trim_end_matches('.').to_owned()
}

#[cfg(test)]
#[path = "cron_tests.rs"]
mod tests;
