//! Where the parts of a JSON text are, so that a text can be handed on or edited with everything else in it as it was:
//! order, spaces, how numbers are written.
//!
//! It does not judge: the text has been read as JSON before. What is no JSON after all has no parts.

use std::ops::Range;

/// A member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where its name is, with the quotes.
    pub name: Range<usize>,
    /// Where its value is.
    pub value: Range<usize>,
}

/// The members of the object that the text is.
#[must_use]
pub fn members(text: &str) -> Option<Vec<Member>> {
    let mut cursor = Cursor { bytes: text.as_bytes(), at: 0 };
    let mut members = Vec::new();
    cursor.list(b'{', b'}', |cursor| {
        let name = cursor.value()?;
        cursor.space();
        cursor.expect(b':')?;
        cursor.space();
        members.push(Member { name, value: cursor.value()? });
        Some(())
    })?;
    Some(members)
}

/// Where the elements of the array are that the text is.
#[must_use]
pub fn elements(text: &str) -> Option<Vec<Range<usize>>> {
    let mut cursor = Cursor { bytes: text.as_bytes(), at: 0 };
    let mut elements = Vec::new();
    cursor.list(b'[', b']', |cursor| {
        elements.push(cursor.value()?);
        Some(())
    })?;
    Some(elements)
}

/// Where the value is of the only member of that name; the name as it is written, which is never with an escape here.
#[must_use]
pub fn member(text: &str, name: &str) -> Option<Range<usize>> {
    let quoted = format!("\"{name}\"");
    let all = members(text)?;
    let mut found = all.into_iter().filter(|member| text.get(member.name.clone()) == Some(quoted.as_str()));
    let only = found.next()?;
    found.next().is_none().then_some(only.value)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// A list between two bytes, to whose end it goes.
    fn list(&mut self, open: u8, close: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.space();
        self.expect(open)?;
        self.space();
        if self.peek()? == close {
            self.at += 1;
            return Some(());
        }
        loop {
            self.space();
            item(self)?;
            self.space();
            match self.peek()? {
                b',' => self.at += 1,
                byte if byte == close => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// Any value, without a look at what is in it: a bracket inside a string is none.
    fn value(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                // Of either kind: that brackets match was seen when the text was read as JSON.
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                _ if depth > 0 => self.at += 1,
                _ => self.word(),
            }
            if depth == 0 {
                return (self.at > start).then_some(start..self.at);
            }
        }
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                // Whatever is escaped does not end the string, a quote least of all.
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    /// A number, or true, false, null.
    fn word(&mut self) {
        while self
            .peek()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "{ \"a\" : 1.50,\n \"b\":[ {\"x\":\"]}\\\"\"} ,\"\\\\\", [] , null ], \"c\":{},\"d\":\"\" }\n";

    fn parts(text: &str, ranges: impl IntoIterator<Item = Range<usize>>) -> Vec<&str> {
        ranges.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn parts_are_found_as_they_are_written() {
        let members = members(TEXT).unwrap();
        let names = parts(TEXT, members.iter().map(|member| member.name.clone()));
        assert_eq!(names, ["\"a\"", "\"b\"", "\"c\"", "\"d\""]);
        let array = &TEXT[member(TEXT, "b").unwrap()];
        let expected = ["{\"x\":\"]}\\\"\"}", "\"\\\\\"", "[]", "null"];
        assert_eq!(parts(array, elements(array).unwrap()), expected);
        assert_eq!(parts(TEXT, member(TEXT, "a")), ["1.50"]);
        assert_eq!((members.len(), elements("[]"), elements(" [ ] ")), (4, Some(vec![]), Some(vec![])));
        assert_eq!(super::members("{}"), Some(vec![]));
    }

    #[test]
    fn a_name_is_of_one_member() {
        assert_eq!(member(r#"{"a":1,"a":2}"#, "a"), None);
        assert_eq!(member(r#"{"b":{"a":1}}"#, "a"), None);
    }

    #[test]
    fn what_is_no_json_has_no_parts() {
        for end in 0..TEXT.trim_end().len() {
            assert_eq!(members(&TEXT[..end]), None, "{end}");
        }
        for text in ["", "[1,2", "[1 2]", "[,]", "[}", "{\"a\"}", "{\"a\":}", "[\"\\"] {
            assert!(members(text).is_none() && elements(text).is_none(), "{text}");
        }
    }
}
