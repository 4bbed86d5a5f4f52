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
    unboxed: Function<'js>,
    /// Numbers that are written as they came.
    written: Written,
    /// The way to the value in work.
    way: Way,
}

impl<'js> Writer<'js> {
    pub(crate) fn new(
        ctx: Ctx<'js>,
        (decimal, plain): (Object<'js>, Object<'js>),
        (text_of, unboxed): (Function<'js>, Function<'js>),
        written: Written,
    ) -> Writer<'js> {
        Writer { ctx, decimal, plain, text_of, unboxed, written, way: Vec::new() }
    }

    /// Begins at a value inside of an event.
    pub(crate) fn begin_at(&mut self, names: &[String]) {
        self.way = names.to_vec();
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
            self.enter(index.to_string());
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
        if prototype.as_ref() != Some(&self.plain) {
            if self.converted(object, depth, json)? {
                return Ok(true);
            }
            let value: Value<'js> = self.unboxed.call((object.clone(),))?;
            if !value.is_undefined() {
                return self.write(&value, depth, json);
            }
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
            self.enter(bare(&name.to_string().unwrap_or_default()));
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
    fn enter(&mut self, name: String) {
        self.way.push(name);
    }

    fn leave(&mut self) {
        self.way.pop();
    }

    fn flaw(&self, what: &str) -> rquickjs::Error {
        Exception::throw_type(&self.ctx, what)
    }
}

/// Writes an object as JSON by the engine itself, which is several times as fast as [`Writer`]. Returns
/// nothing where the engine might write what `Writer` refuses or writes otherwise: it has no
/// decimals, makes `null` of numbers that JSON does not have, writes halves of characters as escapes
/// and a promise as an empty object, and its depth has no bound.
pub(crate) fn by_engine<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> rquickjs::Result<Option<Vec<u8>>> {
    let Ok(Some(text)) = ctx.json_stringify(value.clone()) else {
        // The exception, if there was one, comes again from `Writer`.
        drop(ctx.catch());
        return Ok(None);
    };
    let json = text.to_string()?.into_bytes();
    Ok((json.first() == Some(&b'{') && is_plain(&json)).then_some(json))
}

/// Whether a JSON text has nothing that the engine and [`Writer`] may see differently.
fn is_plain(json: &[u8]) -> bool {
    let opened = memchr::memchr2_iter(b'{', b'[', json).count();
    let has = |what: &[u8]| memchr::memmem::find(json, what).is_some();
    opened < DEPTH_MAX && !has(b"null") && !has(b"\\u") && !has(b"{}")
}

/// Returns a text as JSON without its quotes, as ways have names.
pub(crate) fn bare(text: &str) -> String {
    let text = quoted(text);
    text[1..text.len() - 1].to_owned()
}

/// Returns a text in quotes, as JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
