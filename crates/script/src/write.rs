//! Values of JavaScript into JSON.

use rquickjs::{Ctx, Exception, Function, Object, Value, object::Filter};

use std::collections::HashMap;

use crate::host::note_written;
use crate::numbers::shortest;
use crate::survey::Written;

/// How deeply a result may be nested: deeper ones are circles, most of the time.
const DEPTH_MAX: usize = 100;

/// A writer of values as JSON.
pub(crate) struct Writer<'w, 'js> {
    ctx: Ctx<'js>,
    /// The prototype of decimals.
    decimal: Object<'js>,
    /// The prototype of plain objects.
    plain: Object<'js>,
    text_of: Function<'js>,
    /// Numbers that are written as they came, by their path.
    written: HashMap<String, &'w Written>,
    path: Vec<String>,
}

impl<'w, 'js> Writer<'w, 'js> {
    pub(crate) fn new(
        ctx: Ctx<'js>,
        (decimal, plain): (Object<'js>, Object<'js>),
        text_of: Function<'js>,
        written: &'w [Written],
    ) -> Writer<'w, 'js> {
        let written = written.iter().map(|written| (written.path.join("\0"), written)).collect();
        Writer { ctx, decimal, plain, text_of, written, path: Vec::new() }
    }

    /// Appends a value. Returns whether there was one: JSON has no `undefined`.
    pub(crate) fn write(&mut self, value: &Value<'js>, depth: usize, json: &mut Vec<u8>) -> rquickjs::Result<bool> {
        if depth > DEPTH_MAX {
            return Err(self.flaw("the result is nested more than 100 levels deep, or contains itself"));
        }
        if value.is_null() {
            json.extend_from_slice(b"null");
        } else if let Some(value) = value.as_bool() {
            json.extend_from_slice(if value { b"true" } else { b"false" });
        } else if let Some(number) = value.as_number() {
            self.number(number, json)?;
        } else if value.is_string() {
            self.string(value, json)?;
        } else if value.is_array() {
            self.list(value, depth, json)?;
        } else if value.is_undefined() || value.is_function() || value.is_symbol() {
            return Ok(false);
        } else if value.is_promise() {
            return Err(self.flaw("the result contains a promise; `step` must not be async"));
        } else if let Some(object) = value.as_object() {
            return self.object(object, depth, json);
        } else {
            return Err(self.flaw(&format!("the result contains a {}, which JSON does not have", value.type_name())));
        }
        Ok(true)
    }

    fn number(&self, number: f64, json: &mut Vec<u8>) -> rquickjs::Result<()> {
        if !number.is_finite() {
            let at = if self.path.is_empty() { String::new() } else { format!(" at `{}`", self.path.join(".")) };
            return Err(self.flaw(&format!("the result contains {number}{at}, which is no number of JSON")));
        }
        if !self.written.is_empty() {
            let written = self.written.get(&self.path.join("\0"));
            if let Some(written) = written.filter(|written| written.number == number) {
                json.extend_from_slice(written.text.as_bytes());
                return Ok(());
            }
        }
        json.extend_from_slice(shortest(number).as_bytes());
        Ok(())
    }

    fn string(&self, value: &Value<'js>, json: &mut Vec<u8>) -> rquickjs::Result<()> {
        let text = value.as_string().map(rquickjs::String::to_string);
        match text {
            Some(Ok(text)) => {
                note_written(&self.ctx, text.len())?;
                quote_into(&text, json);
                Ok(())
            }
            Some(Err(_)) | None => {
                Err(self.flaw("the result contains a text with half a character; it was cut inside a surrogate pair"))
            }
        }
    }

    fn list(&mut self, value: &Value<'js>, depth: usize, json: &mut Vec<u8>) -> rquickjs::Result<()> {
        let Some(list) = value.as_array() else { return Ok(()) };
        json.push(b'[');
        let length: f64 = list.as_object().get("length")?;
        // Each element takes a byte at least: a length beyond that is refused before the loop.
        note_written(&self.ctx, length as usize)?;
        for index in 0..length as usize {
            if index > 0 {
                json.push(b',');
            }
            self.enter(|| index.to_string());
            let element: Value<'js> = list.get(index)?;
            if !self.write(&element, depth + 1, json)? {
                json.extend_from_slice(b"null");
            }
            self.leave();
        }
        json.push(b']');
        Ok(())
    }

    fn object(&mut self, object: &Object<'js>, depth: usize, json: &mut Vec<u8>) -> rquickjs::Result<bool> {
        let prototype = object.get_prototype();
        if prototype.as_ref() == Some(&self.decimal) {
            let text: String = self.text_of.call((object.clone(),))?;
            json.extend_from_slice(text.as_bytes());
            return Ok(true);
        }
        // Plain objects are most of all; they have no `toJSON` unless the script gave them one.
        if prototype.as_ref() != Some(&self.plain) && self.write_as_told(object, depth, json)? {
            return Ok(true);
        }
        let from_object = json.len();
        json.push(b'{');
        let mut is_first = true;
        for member in object.own_props::<rquickjs::String<'js>, Value<'js>>(Filter::new().string().enum_only()) {
            let (name, value) = member?;
            let from = json.len();
            if !is_first {
                json.push(b',');
            }
            self.string(name.as_value(), json)?;
            json.push(b':');
            self.enter(|| {
                let name = quoted(&name.to_string().unwrap_or_default());
                name[1..name.len() - 1].to_owned()
            });
            if value.is_function() && &json[from..] == b",\"toJSON\":".get(usize::from(is_first)..).unwrap_or_default() {
                self.leave();
                json.truncate(from_object);
                return self.write_as_told(object, depth, json);
            }
            let has_value = self.write(&value, depth + 1, json)?;
            self.leave();
            match has_value {
                true => is_first = false,
                false => json.truncate(from),
            }
        }
        json.push(b'}');
        Ok(true)
    }

    /// Writes what the `toJSON` of an object returns. Returns whether it has one.
    fn write_as_told(&mut self, object: &Object<'js>, depth: usize, json: &mut Vec<u8>) -> rquickjs::Result<bool> {
        let Ok(to_json) = object.get::<_, Function<'js>>("toJSON") else { return Ok(false) };
        let value: Value<'js> = to_json.call((rquickjs::function::This(object.clone()),))?;
        self.write(&value, depth + 1, json)
    }

    /// Notes the way to a value, where numbers are looked up by it.
    fn enter(&mut self, name: impl FnOnce() -> String) {
        if !self.written.is_empty() {
            self.path.push(name());
        }
    }

    fn leave(&mut self) {
        if !self.written.is_empty() {
            self.path.pop();
        }
    }

    fn flaw(&self, what: &str) -> rquickjs::Error {
        Exception::throw_type(&self.ctx, what)
    }
}

/// Returns a text in quotes, as JSON.
pub(crate) fn quoted(text: &str) -> String {
    let mut json = Vec::with_capacity(text.len() + 2);
    quote_into(text, &mut json);
    String::from_utf8_lossy(&json).into_owned()
}

fn quote_into(text: &str, json: &mut Vec<u8>) {
    json.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => &[],
            _ => continue,
        };
        json.extend_from_slice(&bytes[from..at]);
        match escape {
            [] => json.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            escape => json.extend_from_slice(escape),
        }
        from = at + 1;
    }
    json.extend_from_slice(&bytes[from..]);
    json.push(b'"');
}
