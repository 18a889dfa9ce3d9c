//! A line of CSV, as pflag parses the value of a list flag.

/// The fields of a line: separated by commas, or quoted, with a quote doubled. An empty line has none.
///
/// `None` if a quote is misplaced or the text has several lines.
pub(crate) fn read(line: &str) -> Option<Vec<String>> {
    if line.is_empty() {
        return Some(Vec::new());
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, behind) = match rest.strip_prefix('"') {
            Some(inside) => quoted(inside)?,
            None => plain(rest)?,
        };
        fields.push(field);
        match behind.strip_prefix(',') {
            Some(more) => rest = more,
            None => return behind.is_empty().then_some(fields),
        }
    }
}

fn plain(text: &str) -> Option<(String, &str)> {
    let (field, behind) = text.split_at(text.find(',').unwrap_or(text.len()));
    (!field.contains(['"', '\n', '\r'])).then(|| (field.to_owned(), behind))
}

fn quoted(mut text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    loop {
        let (inside, behind) = text.split_once('"')?;
        field.push_str(inside);
        match behind.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                text = more;
            }
            None => return Some((field, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_at_commas_outside_quotes() {
        let cases: [(&str, Option<&[&str]>); 11] = [
            ("", Some(&[])),
            ("a", Some(&["a"])),
            ("a,b", Some(&["a", "b"])),
            ("a,", Some(&["a", ""])),
            (",", Some(&["", ""])),
            (" a , b", Some(&[" a ", " b"])),
            ("\"a,b\",c", Some(&["a,b", "c"])),
            ("\"a\"\"b\"", Some(&["a\"b"])),
            ("a\"b", None),
            ("\"a", None),
            ("\"a\"b", None),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|fields| fields.iter().map(|field| (*field).to_owned()).collect());
            assert_eq!(read(line), expected, "{line:?}");
        }
        assert_eq!(read("a\nb"), None);
    }
}
