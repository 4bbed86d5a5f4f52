//! Values of JavaScript into JSON.

use rquickjs::{Ctx, Exception, Function, Object, Value, object::Filter};

use crate::DEPTH_MAX;
use crate::host::note_written;
use crate::numbers::shortest;
use crate::survey::{Way, Written};

/// A writer of values as JSON.
pub(crate) struct Writer<'js> {
    ctx: Ctx<'js>,
    /// The prototype of decimals.
    decimal: Object<'js>,
    /// The prototype of plain objects.
    plain: Object<'js>,
    text_of: Function<'js>,
    /// Numbers that are written as they came.
    written: Written,
    /// The way to the value in work, where numbers are looked up by it.
    way: Way,
}

impl<'js> Writer<'js> {
    pub(crate) fn new(
        ctx: Ctx<'js>,
        (decimal, plain): (Object<'js>, Object<'js>),
        text_of: Function<'js>,
        written: Written,
    ) -> Writer<'js> {
        Writer { ctx, decimal, plain, text_of, written, way: Vec::new() }
    }

    /// Appends a value. Returns whether there was one: JSON has no `undefined`.
    pub(crate) fn write(&mut self, value: &Value<'js>, depth: usize, json: &mut Vec<u8>) -> rquickjs::Result<bool> {
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
            let at = if self.way.is_empty() { String::new() } else { format!(" at `{}`", self.way.join(".")) };
            return Err(self.flaw(&format!("the result contains {number}{at}, which is no number of JSON")));
        }
        match self.written.get(&self.way).filter(|(known, _)| *known == number) {
            Some((_, text)) => json.extend_from_slice(text.as_bytes()),
            None => json.extend_from_slice(shortest(number).as_bytes()),
        }
        Ok(())
    }

    fn string(&self, value: &Value<'js>, json: &mut Vec<u8>) -> rquickjs::Result<()> {
        let text = value.as_string().map(rquickjs::String::to_string);
        match text {
            Some(Ok(text)) => {
                note_written(&self.ctx, text.len())?;
                // A vector takes all bytes.
                serde_json::to_writer(json, &text).ok();
                Ok(())
            }
            Some(Err(_)) | None => {
                Err(self.flaw("the result contains a text with half a character; it was cut inside a surrogate pair"))
            }
        }
    }

    fn list(&mut self, value: &Value<'js>, depth: usize, json: &mut Vec<u8>) -> rquickjs::Result<()> {
        let Some(list) = value.as_array() else { return Ok(()) };
        self.check_depth(depth)?;
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
        self.check_depth(depth)?;
        // A plain object has no `toJSON` unless the script gave it one, which is found below.
        if prototype.as_ref() != Some(&self.plain) && self.converted(object, depth, json)? {
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
                return self.converted(object, depth, json);
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

    /// Writes the value that the `toJSON` of an object returns. Returns whether the object has one.
    fn converted(&mut self, object: &Object<'js>, depth: usize, json: &mut Vec<u8>) -> rquickjs::Result<bool> {
        let Ok(to_json) = object.get::<_, Function<'js>>("toJSON") else { return Ok(false) };
        let value: Value<'js> = to_json.call((rquickjs::function::This(object.clone()),))?;
        self.write(&value, depth + 1, json)
    }

    fn check_depth(&self, depth: usize) -> rquickjs::Result<()> {
        match depth < DEPTH_MAX {
            true => Ok(()),
            false => Err(self.flaw(&format!("the result is nested more than {DEPTH_MAX} levels deep, or contains itself"))),
        }
    }

    /// Notes the next step of the way to a value.
    fn enter(&mut self, name: impl FnOnce() -> String) {
        if !self.written.is_empty() {
            self.way.push(name());
        }
    }

    fn leave(&mut self) {
        if !self.written.is_empty() {
            self.way.pop();
        }
    }

    fn flaw(&self, what: &str) -> rquickjs::Error {
        Exception::throw_type(&self.ctx, what)
    }
}

/// Returns a text in quotes, as JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
