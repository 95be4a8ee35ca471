use super::*;

/// Central European time, from its own rule: no machine's time zone data are needed.
fn europe() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

fn schedule(pattern: &str, zone: TimeZone) -> CronSchedule {
    CronSchedule::parse(pattern, zone).unwrap()
}

/// The next `count` times after `from`, in UTC.
fn times(pattern: &str, zone: TimeZone, from: &str, count: usize) -> Vec<String> {
    let schedule = schedule(pattern, zone);
    let mut now = at(from);
    std::iter::repeat_with(|| {
        now = schedule.next(now).unwrap();
        now.to_string()
    })
    .take(count)
    .collect()
}

#[test]
fn five_fields_begin_with_the_minute_and_six_with_the_second() {
    let five = times("*/30 * * * *", TimeZone::UTC, "2026-11-26T20:59:59.999Z", 3);
    assert_eq!(five, ["2026-11-26T21:00:00.000Z", "2026-11-26T21:30:00.000Z", "2026-11-26T22:00:00.000Z"]);
    let six = times("*/30 * * * * *", TimeZone::UTC, "2026-11-26T21:00:00Z", 2);
    assert_eq!(six, ["2026-11-26T21:00:30.000Z", "2026-11-26T21:01:00.000Z"], "never the moment itself");
    assert_eq!(times("15 30 9 * * MON", TimeZone::UTC, "2026-11-26T21:00:00Z", 1), ["2026-11-30T09:30:15.000Z"]);
    assert_eq!(times("@daily", TimeZone::UTC, "2026-11-26T21:00:00Z", 1), ["2026-11-27T00:00:00.000Z"]);
}

#[test]
fn a_day_of_the_month_and_a_day_of_the_week_are_either() {
    let either = times("0 0 13 * 5", TimeZone::UTC, "2026-11-05T00:00:00Z", 4);
    let days = ["2026-11-06", "2026-11-13", "2026-11-20", "2026-11-27"].map(|day| format!("{day}T00:00:00.000Z"));
    assert_eq!(either, days, "13 November is a Friday itself");
    assert_eq!(times("0 0 13 * 5", TimeZone::UTC, "2026-12-12T00:00:00Z", 1), ["2026-12-13T00:00:00.000Z"], "a Sunday");
}

#[test]
fn every_30th_hour_is_taken_by_the_standard_and_warned_of() {
    let daily = times("0 */30 * * *", TimeZone::UTC, "2026-11-26T21:00:00Z", 3);
    assert_eq!(daily, ["2026-11-27T00:00:00.000Z", "2026-11-28T00:00:00.000Z", "2026-11-29T00:00:00.000Z"]);
    let warning = schedule("0 */30 * * *", TimeZone::UTC).warning().unwrap();
    assert_eq!(
        warning,
        "POLL_CRON `0 */30 * * *`: `*/30` in the field hour comes once a day; every 30 minutes is `*/30 * * * *`, \
         every 30 hours POLL_INTERVAL=30h"
    );
}

#[test]
fn only_steps_that_are_longer_than_their_field_are_warned_of() {
    for (pattern, said) in [
        ("*/90 * * * *", Some("`*/90` in the field minute comes once an hour; every 90 minutes is POLL_INTERVAL=90m")),
        ("*/90 * * * * *", Some("`*/90` in the field second comes once a minute")),
        ("0 0 */30 * * *", Some("`*/30` in the field hour comes once a day")),
        ("0 */72 * * *", Some("every 72 hours is POLL_INTERVAL=72h")),
        ("0 0 */45 * *", Some("`*/45` in the field day of the month comes once a month")),
        ("0 0 1 */13 *", Some("comes once a year; a step is counted within its field")),
        ("0 0 * * */8", Some("comes once a week")),
        ("*/30 * * * *", None),
        ("*/60 * * * *", None),
        ("0 */24 * * *", None),
        ("0 0-23/2 * * *", None),
        ("@hourly", None),
    ] {
        let warning = schedule(pattern, TimeZone::UTC).warning();
        match said {
            Some(said) => {
                let warning = warning.unwrap_or_else(|| panic!("no warning of {pattern}"));
                assert!(warning.contains(said) && !warning.contains('\n'), "{warning}");
            }
            None => assert_eq!(warning, None),
        }
    }
}

#[test]
fn what_is_no_pattern_is_refused_in_one_line_that_names_the_field() {
    for (pattern, said) in [
        ("", "0 fields; a cron pattern has 5"),
        ("30m", "1 fields"),
        ("* * * * * * *", "7 fields"),
        ("61 * * * *", "the minute `61`"),
        ("* 24 * * *", "the hour `24`"),
        ("0 * 24 * * *", "the hour `24`"),
        ("* * 0 * *", "the day of the month `0`"),
        ("* * * 13 *", "the month `13`"),
        ("* * * * 8", "the day of the week `8`"),
        ("*/0 * * * *", "the minute `*/0`"),
        ("5-1 * * * *", "the minute `5-1`"),
        ("a b c d e", "the minute `a`"),
        ("@fortnightly", "there are @hourly, @daily"),
        ("@reboot", "there are @hourly, @daily"),
        ("@daily * * * *", "stands alone"),
        ("0/30 * * * *", "the minute `0/30`"),
    ] {
        let line = CronSchedule::parse(pattern, TimeZone::UTC).unwrap_err();
        assert!(line.contains(said) && !line.contains('\n'), "{pattern}: {line}");
    }
}

#[test]
fn a_day_that_never_comes_is_refused_and_a_rare_one_is_not() {
    for pattern in ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", ", * * * *"] {
        let line = CronSchedule::parse(pattern, europe()).unwrap_err();
        assert!(line.contains("never"), "{pattern}: {line}");
    }
    assert_eq!(times("0 0 29 2 *", TimeZone::UTC, "2096-03-01T00:00:00Z", 1), ["2104-02-29T00:00:00.000Z"]);
}

#[test]
fn a_time_of_day_follows_the_clock_on_the_wall() {
    // 9 in the morning is 8 in UTC in winter and 7 in summer
    assert_eq!(times("0 9 * * *", europe(), "2026-01-15T00:00:00Z", 1), ["2026-01-15T08:00:00.000Z"]);
    assert_eq!(times("0 9 * * *", europe(), "2026-07-15T00:00:00Z", 1), ["2026-07-15T07:00:00.000Z"]);
}

#[test]
fn a_time_that_summer_time_leaves_out_comes_at_the_end_of_the_gap() {
    // on 29 March 2026 it is 3 o'clock after 1:59:59, at 1:00 in UTC
    let daily = times("30 2 * * *", europe(), "2026-03-28T12:00:00Z", 2);
    assert_eq!(daily, ["2026-03-29T01:00:00.000Z", "2026-03-30T00:30:00.000Z"]);
    let half_hourly = times("*/30 * * * *", europe(), "2026-03-29T00:29:59Z", 3);
    assert_eq!(half_hourly, ["2026-03-29T00:30:00.000Z", "2026-03-29T01:00:00.000Z", "2026-03-29T01:30:00.000Z"]);
}

#[test]
fn a_time_that_comes_twice_counts_once_and_short_intervals_go_on_through_both() {
    // on 25 October 2026 2:00 to 2:59:59 come twice, from 0:00 and from 1:00 in UTC
    let daily = times("30 2 * * *", europe(), "2026-10-24T12:00:00Z", 2);
    assert_eq!(daily, ["2026-10-25T00:30:00.000Z", "2026-10-26T01:30:00.000Z"]);
    let half_hourly = times("*/30 * * * *", europe(), "2026-10-25T00:00:00Z", 4);
    assert_eq!(
        half_hourly,
        [
            "2026-10-25T00:30:00.000Z",
            "2026-10-25T01:00:00.000Z",
            "2026-10-25T01:30:00.000Z",
            "2026-10-25T02:00:00.000Z"
        ]
    );
}

#[test]
fn times_are_shown_as_people_there_write_them() {
    assert_eq!(schedule("* * * * *", europe()).shown(at("2026-07-01T00:00:00Z")), "2026-07-01 02:00:00 +02:00");
}
