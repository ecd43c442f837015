//! The log: a line for each call, in a file for the administrator only. It holds names, addresses and times; the
//! configuration and the environment, which may hold secrets, are never in it.

use std::fs::{OpenOptions, rename};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

/// The longest line, in bytes.
const LONGEST_LINE: usize = 1024;
/// A file that has become longer is set aside; there are never more than two.
const LONGEST_FILE: u64 = 4 << 20;
const DAY: u64 = 86_400;

/// Adds a line to a file. Nothing depends on whether it can be written.
pub fn add(path: &Path, line: &str) {
    // A link that somebody has put there is not followed, and a pipe that nobody reads does not hold up CNI.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut how = OpenOptions::new();
    let Ok(mut file) = how.append(true).create(true).mode(0o600).custom_flags(flags).open(path) else {
        return;
    };
    // One write, so that lines of calls at the same time do not mix.
    let _ = file.write_all(format!("{}\n", bounded(line)).as_bytes());
    // Of those that find it too long at the same time, the first sets it aside.
    let is_long = || path.symlink_metadata().is_ok_and(|it| it.is_file() && it.len() > LONGEST_FILE);
    if is_long() {
        let _ = rename(path, aside(path));
    }
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// A line as it may stand in the file: whatever was said to the plugin, it stays one line.
fn bounded(line: &str) -> String {
    let mut bounded = String::new();
    for character in line.chars() {
        let escaped: String =
            if character.is_control() { character.escape_default().collect() } else { character.into() };
        if bounded.len() + escaped.len() > LONGEST_LINE {
            break;
        }
        bounded.push_str(&escaped);
    }
    bounded
}

/// A time as people write it, in UTC.
#[must_use]
pub fn time(now: SystemTime) -> String {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, seconds) = (since.as_secs() / DAY, since.as_secs() % DAY);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

/// The date of a day, counted from 1970-01-01. Years begin in March here, so that the day of a leap year is the last.
const fn date(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let days = days + 719_468;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let first = (153 * month + 2) / 5;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month, day - first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_line_is_added_for_the_administrator_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        add(&path, "one");
        add(&path, "two\nlines\u{1b}[31m");
        add(&path, &"x".repeat(5_000));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["one", "two\\nlines\\u{1b}[31m"]);
        assert_eq!((lines.len(), lines[2].len()), (3, LONGEST_LINE));
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_cannot_be_written_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        add(&folder.path().join("no/such/folder"), "one");
        add(folder.path(), "one");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("target"), &link).unwrap();
        add(&link, "one");
        assert!(!folder.path().join("target").exists());
    }

    #[test]
    fn a_long_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, vec![b'x'; usize::try_from(LONGEST_FILE).unwrap()]).unwrap();
        add(&path, "one");
        assert!(!path.exists() && folder.path().join("log.1").exists());
        add(&path, "two");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_time_is_of_the_calendar() {
        let at = |seconds: u64, milliseconds: u64| {
            time(SystemTime::UNIX_EPOCH + Duration::from_millis(seconds * 1_000 + milliseconds))
        };
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400, 7), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(1_709_251_199, 0), "2024-02-29T23:59:59.000Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
    }
}
