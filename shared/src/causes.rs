//! An error in words.

use std::error::Error;

/// An error with its causes in one line, each told once: some errors repeat their cause, others do not. To be logged with
/// quotes where part of it may be a peer's words.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Link(&'static str, Option<Box<dyn Error>>);

    impl fmt::Display for Link {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Link {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref()
        }
    }

    #[test]
    fn each_cause_is_told_once() {
        let refused = io::Error::from_raw_os_error(111);
        let same = Link("Connection refused (os error 111)", Some(Box::new(refused)));
        let repeating = Link("tcp: Connection refused (os error 111)", Some(Box::new(same)));
        let words = causes(&Link("cannot reach it", Some(Box::new(repeating))));
        assert_eq!(words, "cannot reach it: tcp: Connection refused (os error 111)");
        let two = Link("no certificate", Some(Box::new(Link("expired", None))));
        assert_eq!(causes(&two), "no certificate: expired");
    }
}
