//! Content negotiation (`Accept`, RFC 9110 section 12.5.1).
//!
//! Kubernetes puts the kind of object into parameters of the media type:
//! `application/json;v=v1beta1;g=config.k8s.io;as=Statusz`. Without them a client gets text or an error: the layout of
//! the text may change and must not be parsed, that of the object depends on its version.

/// The format of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Text for people.
    Text,
    /// An object for programs, of this version of `config.k8s.io`.
    Object(Encoding, &'static str),
}

/// The encoding of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
}

/// The version of `config.k8s.io` in use.
const V1BETA1: &str = "v1beta1";
/// A deprecated version.
pub(crate) const V1ALPHA1: &str = "v1alpha1";

/// A media type that a client accepts.
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

    /// In thousandths, the precision of the RFC.
    fn quality(&self) -> u16 {
        let quality = self.parameter("q").and_then(|quality| quality.parse::<f32>().ok()).unwrap_or(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
        let thousandths = (quality.clamp(0.0, 1.0) * 1000.0) as u16;
        thousandths
    }

    /// The number of wildcards.
    fn wildcards(&self) -> usize {
        self.media_type.matches('*').count()
    }

    /// The format that this requests for a page of this kind.
    fn form(&self, kind: &str) -> Option<Form> {
        let encoding = match (self.media_type, self.parameter("as")) {
            ("text/plain" | "text/*" | "*/*", None) => return Some(Form::Text),
            ("application/json", Some(wanted)) if wanted == kind => Encoding::Json,
            ("application/yaml", Some(wanted)) if wanted == kind => Encoding::Yaml,
            _ => return None,
        };
        let version = self.parameter("v").filter(|_| self.parameter("g") == Some("config.k8s.io"))?;
        let version = [V1BETA1, V1ALPHA1].into_iter().find(|known| *known == version)?;
        Some(Form::Object(encoding, version))
    }
}

/// The format that `accept` requests for a page of this kind; `None` if it accepts none of them.
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
    fn the_format_with_the_highest_quality_is_chosen() {
        let json = Form::Object(Encoding::Json, V1BETA1);
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
                Some(Form::Object(Encoding::Yaml, V1ALPHA1)),
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
