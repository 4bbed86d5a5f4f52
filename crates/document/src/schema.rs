//! The JSON Schema of a pipeline document, for editors.

use serde_json::{Map, Value, json};

use super::forms;
use super::shape::{Form, Presence, Shape};

/// The identifier of the schema. It is a name and not an address: nothing is fetched from it.
const ID: &str = "urn:flowmeter:schema:pipeline";

/// The schema, made from the table of forms (JSON Schema 2020-12).
pub fn json_schema() -> Value {
    let mut schema = form(&forms::PIPELINE);
    if let Some(members) = schema.as_object_mut() {
        members.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        members.insert("$id".to_owned(), json!(ID));
        members.insert("title".to_owned(), json!("Flowmeter pipeline"));
    }
    schema
}

fn form(of: &Form) -> Value {
    match of {
        Form::Text | Form::Expression | Form::Zone | Form::Path | Form::Value => json!({"type": ["string", "number"]}),
        Form::Number => json!({"type": ["number", "string"]}),
        Form::Integer(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Form::Boolean => json!({"type": "boolean"}),
        Form::Duration => json!({"type": ["string", "integer"], "pattern": "^(0|([0-9]+(ms|s|m|h|d|w))+)$"}),
        Form::Uuid => json!({"type": "string", "format": "uuid"}),
        Form::Instant => json!({"type": "string", "format": "date-time"}),
        Form::Word(["off"]) => json!({"enum": ["off", false]}),
        Form::Word(words) => json!({"enum": words}),
        Form::Character => json!({"type": "string", "maxLength": 2}),
        Form::Any => json!(true),
        Form::Object(shape) => object(shape),
        Form::List(items) => json!({"type": "array", "items": form(items)}),
        Form::Map(values) => json!({"type": "object", "additionalProperties": form(values)}),
        Form::Either(forms) => json!({"anyOf": forms.iter().map(form).collect::<Vec<_>>()}),
    }
}

fn object(shape: &Shape) -> Value {
    let mut properties = Map::new();
    for field in shape.fields {
        let mut property = form(&field.form);
        if let Some(members) = property.as_object_mut() {
            members.insert("description".to_owned(), json!(field.help));
            if let Presence::Default(value) = field.presence {
                members.insert("default".to_owned(), json!(value));
            }
        }
        properties.insert(field.name.to_owned(), property);
    }
    let needed = shape.fields.iter().filter(|field| field.presence == Presence::Required);
    let needed: Vec<&str> = needed.map(|field| field.name).collect();
    json!({
        "type": "object",
        "description": shape.help,
        "properties": properties,
        "required": needed,
        "additionalProperties": false,
    })
}
