//! Label and field selectors.

use std::collections::BTreeMap;

/// What selectors can look at in an object.
#[derive(Debug, Clone, Default)]
pub(super) struct Features {
    pub(super) labels: BTreeMap<String, String>,
    /// `metadata.name`, `metadata.namespace`, and `spec.clusterIP` and `spec.type` of a Service.
    pub(super) fields: BTreeMap<&'static str, String>,
}

/// A selector of either sort: all of its terms must hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Selector(Vec<Term>);

#[derive(Debug, Clone)]
struct Term {
    key: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Selector {
    /// Reads a selector; nothing when its syntax is wrong.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut terms = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let end = term_end(rest);
            terms.push(Term::parse(rest[..end].trim())?);
            rest = rest[end..].trim_start_matches(',').trim();
        }
        Some(Self(terms))
    }

    /// Whether an object is selected by its labels.
    pub(super) fn selects_labels(&self, features: &Features) -> bool {
        self.0.iter().all(|term| term.test.holds(features.labels.get(&term.key).map(String::as_str)))
    }

    /// Whether an object is selected by its fields; a field that is not set is empty.
    pub(super) fn selects_fields(&self, features: &Features) -> bool {
        self.0.iter().all(|term| {
            let value = features.fields.get(term.key.as_str()).map_or("", String::as_str);
            term.test.holds(Some(value))
        })
    }

    /// A field that no object can be selected by, if the selector names one.
    pub(super) fn unknown_field(&self) -> Option<&str> {
        let known = ["metadata.name", "metadata.namespace", "spec.clusterIP", "spec.type"];
        self.0.iter().map(|term| term.key.as_str()).find(|key| !known.contains(key))
    }
}

/// Where the first term of `text` ends: at a comma outside of parentheses.
fn term_end(text: &str) -> usize {
    let mut depth = 0_i32;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth == 0 => return index,
            _ => {}
        }
    }
    text.len()
}

impl Term {
    fn parse(text: &str) -> Option<Self> {
        let term = |key: &str, test| Some(Self { key: key.trim().to_owned(), test });
        let one = |value: &str| vec![value.trim().to_owned()];
        if let Some(key) = text.strip_prefix('!') {
            return term(key, Test::Absent);
        }
        if let Some((key, value)) = text.split_once("!=") {
            return term(key, Test::NotIn(one(value)));
        }
        if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            return term(key, Test::In(one(value)));
        }
        let Some(list) = text.strip_suffix(')') else {
            return (!text.contains(char::is_whitespace)).then(|| term(text, Test::Exists))?;
        };
        let (head, values) = list.split_once('(')?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, operator) = head.trim().rsplit_once(char::is_whitespace)?;
        match operator {
            "in" => term(key, Test::In(values)),
            "notin" => term(key, Test::NotIn(values)),
            _ => None,
        }
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::In(values) => value.is_some_and(|value| values.iter().any(|allowed| allowed == value)),
            // As in Kubernetes: an object without the label is not in any set of values.
            Self::NotIn(values) => value.is_none_or(|value| values.iter().all(|denied| denied != value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_choose_by_presence_value_and_set() {
        let labels =
            BTreeMap::from([("app".to_owned(), "web".to_owned()), ("x/y".to_owned(), String::new())]);
        let features = Features { labels, fields: BTreeMap::from([("metadata.name", "n1".to_owned())]) };
        let cases = [
            ("", true),
            ("app", true),
            ("!app", false),
            ("!none", true),
            ("none", false),
            ("app=web", true),
            ("app == web", true),
            ("app!=web", false),
            ("none!=web", true),
            ("x/y=", true),
            ("app in (db, web),!none", true),
            ("app notin (db,web)", false),
            ("none notin (a),app", true),
        ];
        for (text, expected) in cases {
            assert_eq!(Selector::parse(text).unwrap().selects_labels(&features), expected, "{text}");
        }
        let fields =
            [("metadata.name=n1", true), ("metadata.name!=n1", false), ("spec.clusterIP!=None", true)];
        for (text, expected) in fields {
            assert_eq!(Selector::parse(text).unwrap().selects_fields(&features), expected, "{text}");
        }
        assert!(Selector::parse("app within (a)").is_none());
        assert_eq!(Selector::parse("spec.externalIPs=1").unwrap().unknown_field(), Some("spec.externalIPs"));
    }
}
