//! Words with fields in braces: "{severity}: {api} in {region}". Knows no field's meaning.

/// Text, and fields by their place among those that are known.
#[derive(Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(usize),
}

impl Template {
    /// A doubled brace is a brace. An unknown field is an error that names the nearest one that is known.
    pub fn parse(text: &str, known: &[&str]) -> Result<Template, String> {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..at + 1];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let (name, after) = match (brace, rest.split_once('}')) {
                ("{", Some(found)) => found,
                ("{", None) => return Err(format!("{text:?}: a {{ without its }}")),
                _ => return Err(format!("{text:?}: a }} without its {{")),
            };
            let place = known.iter().position(|field| *field == name).ok_or_else(|| {
                let nearest = known
                    .iter()
                    .min_by_key(|field| strsim::osa_distance(field, &name.to_lowercase()))
                    .copied()
                    .unwrap_or_default();
                format!("{text:?}: there is no field {{{name}}}; the nearest is {{{nearest}}}")
            })?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Field(place));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template(pieces))
    }

    /// `value`: what the field at a place says.
    pub fn fill(&self, value: impl Fn(usize) -> String) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Field(place) => value(*place),
        };
        self.0.iter().map(piece).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["api", "severity", "region"];

    fn filled(text: &str) -> Result<String, String> {
        Ok(Template::parse(text, &KNOWN)?.fill(|place| ["ec2:RunInstances", "high", "eu-west-1"][place].to_owned()))
    }

    #[test]
    fn fields_are_filled_in_and_braces_can_be_said() {
        assert_eq!(filled("{severity}: {api} in {region}!").as_deref(), Ok("high: ec2:RunInstances in eu-west-1!"));
        assert_eq!(filled("{{{api}}}").as_deref(), Ok("{ec2:RunInstances}"));
        assert_eq!(filled("").as_deref(), Ok(""));
        assert_eq!(filled("é{api}é").as_deref(), Ok("éec2:RunInstancesé"));
    }

    #[test]
    fn an_unknown_field_names_its_neighbour() {
        let error = filled("{sevrity}").expect_err("unknown");
        assert!(error.contains("{sevrity}") && error.contains("{severity}"), "{error}");
        for text in ["{", "}", "{api", "api}", "{}", "{api }"] {
            assert!(filled(text).is_err(), "{text}");
        }
    }
}
