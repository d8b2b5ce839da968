//! JSON as `schemas/keyferry-event.schema.json` has it: fields without a value are left out, and what is JSON stays JSON.

use super::fields::{Field, Fields, Record, Text, Values};
use super::writing::ObjectWriter;

/// Writes the members of an object.
pub(super) struct Json<'a>(pub(super) ObjectWriter<'a>);

impl Fields for Json<'_> {
    fn text(&mut self, field: Field, text: Text<'_>) {
        let object = &mut self.0;
        match text {
            Text::Plain(text) => object.text(field.name, text),
            Text::Escaped(content) => object.content(field.name, content),
            Text::Json(value) => object.json(field.name, value),
            Text::Formatted(text) => object.plain(field.name, text),
        }
    }

    fn optional(&mut self, field: Field, text: Option<Text<'_>>) {
        text.into_iter().for_each(|text| self.text(field, text));
    }

    fn number(&mut self, field: Field, number: u64) {
        self.0.number(field.name, number);
    }

    fn map<'t>(
        &mut self,
        field: Field,
        members: impl Iterator<Item = (&'t [u8], &'t [u8])> + Clone,
        _: Values,
    ) {
        let mut members = members.peekable();
        if members.peek().is_some() {
            let mut object = self.0.object(field.name);
            members.for_each(|(name, value)| object.as_written(name, value));
        }
    }

    fn record(&mut self, field: Field, record: Option<impl Record>) {
        if let Some(record) = record {
            record.write(&mut Json(self.0.object(field.name)));
        }
    }
}
