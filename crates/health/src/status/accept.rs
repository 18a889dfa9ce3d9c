//! Which form of a page a client asks for (`Accept`, RFC 9110 section 12.5.1).
//!
//! Kubernetes puts the kind of object into parameters of the media type:
//! `application/json;v=v1beta1;g=config.k8s.io;as=Statusz`. A client that does not name one
//! gets text, or nothing: the layout of the text may change, so nobody should parse it, and
//! that of the object goes by its version.

/// The form in which a page is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// For programs.
    Object(Encoding, Version),
}

/// How an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
}

/// A version of `config.k8s.io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1Beta1,
    /// Works, and is said to go away.
    V1Alpha1,
}

impl Version {
    /// As it stands in `apiVersion`, after the group.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V1Beta1 => "v1beta1",
            Self::V1Alpha1 => "v1alpha1",
        }
    }
}

/// One of the media types that a client takes.
struct Clause<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let parameters = parts.filter_map(|part| part.split_once('='));
        let parameters =
            parameters.map(|(name, value)| (name.trim(), value.trim().trim_matches('"'))).collect();
        Self { media_type, parameters }
    }

    fn parameter(&self, wanted: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value)
    }

    /// In thousandths, the precision that the RFC allows.
    fn quality(&self) -> u16 {
        let quality = self.parameter("q").and_then(|quality| quality.parse::<f32>().ok()).unwrap_or(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
        let thousandths = (quality.clamp(0.0, 1.0) * 1000.0) as u16;
        thousandths
    }

    /// How much the media type leaves open.
    fn wildcards(&self) -> usize {
        self.media_type.matches('*').count()
    }

    /// The form that this asks for, of a page that is `kind` as an object.
    fn form(&self, kind: &str) -> Option<Form> {
        let encoding = match (self.media_type, self.parameter("as")) {
            ("text/plain" | "text/*" | "*/*", None) => return Some(Form::Text),
            ("application/json", Some(_)) => Encoding::Json,
            ("application/yaml", Some(_)) => Encoding::Yaml,
            _ => return None,
        };
        let version = match (self.parameter("as"), self.parameter("g"), self.parameter("v")) {
            (Some(wanted), Some("config.k8s.io"), Some("v1beta1")) if wanted == kind => Version::V1Beta1,
            (Some(wanted), Some("config.k8s.io"), Some("v1alpha1")) if wanted == kind => Version::V1Alpha1,
            _ => return None,
        };
        Some(Form::Object(encoding, version))
    }
}

/// The form that `accept` asks for, of a page that is `kind` as an object; none if it takes no
/// form that there is.
pub(crate) fn negotiate(accept: &str, kind: &str) -> Option<Form> {
    if accept.trim().is_empty() {
        return Some(Form::Text);
    }
    let mut clauses: Vec<_> =
        accept.split(',').map(Clause::parse).filter(|clause| clause.quality() > 0).collect();
    clauses.sort_by_key(|clause| (u16::MAX - clause.quality(), clause.wildcards()));
    clauses.iter().find_map(|clause| clause.form(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_form_that_there_is_is_given() {
        let json = Form::Object(Encoding::Json, Version::V1Beta1);
        let cases = [
            ("", Some(Form::Text)),
            ("  ", Some(Form::Text)),
            ("text/plain", Some(Form::Text)),
            ("text/plain; charset=utf-8", Some(Form::Text)),
            ("*/*", Some(Form::Text)),
            ("text/html,application/xml;q=0.9,*/*;q=0.8", Some(Form::Text)),
            ("application/json, */*", Some(Form::Text)),
            ("application/json;v=v1beta1;g=config.k8s.io;as=Statusz", Some(json)),
            ("application/json; as=Statusz; g=config.k8s.io; v=v1beta1", Some(json)),
            (
                "application/yaml;v=v1alpha1;g=config.k8s.io;as=Statusz",
                Some(Form::Object(Encoding::Yaml, Version::V1Alpha1)),
            ),
            ("*/*, application/json;v=v1beta1;g=config.k8s.io;as=Statusz", Some(json)),
            ("text/plain;q=0.5,application/json;v=v1beta1;g=config.k8s.io;as=Statusz;q=0.6", Some(json)),
            (
                "text/plain;q=0.7,application/json;v=v1beta1;g=config.k8s.io;as=Statusz;q=0.6",
                Some(Form::Text),
            ),
            ("application/json", None),
            ("application/yaml", None),
            ("application/json;v=v1;g=config.k8s.io;as=Statusz", None),
            ("application/json;v=v1beta1;g=meta.k8s.io;as=Statusz", None),
            ("application/json;v=v1beta1;g=config.k8s.io;as=Flagz", None),
            ("application/vnd.kubernetes.protobuf", None),
            ("text/plain;q=0", None),
            ("nonsense", None),
        ];
        for (accept, expected) in cases {
            assert_eq!(negotiate(accept, "Statusz"), expected, "{accept}");
        }
    }
}
