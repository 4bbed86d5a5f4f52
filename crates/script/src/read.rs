//! JSON into values of JavaScript, where the engine's own reader would lose digits.

use rquickjs::{Array, Ctx, Function, IntoJs, Object, Value, object::Property};

use crate::DEPTH_MAX;
use crate::numbers::binary;

/// A reader of one JSON text.
pub(crate) struct Reader<'t, 'js> {
    ctx: Ctx<'js>,
    text: &'t [u8],
    at: usize,
    depth: usize,
    make_decimal: Function<'js>,
}

impl<'t, 'js> Reader<'t, 'js> {
    pub(crate) fn new(ctx: Ctx<'js>, text: &'t [u8], make_decimal: Function<'js>) -> Reader<'t, 'js> {
        Reader { ctx, text, at: 0, depth: 0, make_decimal }
    }

    /// Reads the whole text.
    pub(crate) fn read(&mut self) -> rquickjs::Result<Value<'js>> {
        let value = self.value()?;
        self.skip_space();
        match self.at == self.text.len() {
            true => Ok(value),
            false => Err(self.flaw("text behind the value")),
        }
    }

    fn value(&mut self) -> rquickjs::Result<Value<'js>> {
        self.skip_space();
        match self.peek() {
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::list),
            b'"' => self.string(),
            b't' => self.word("true", Value::new_bool(self.ctx.clone(), true)),
            b'f' => self.word("false", Value::new_bool(self.ctx.clone(), false)),
            b'n' => self.word("null", Value::new_null(self.ctx.clone())),
            _ => self.number(),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> rquickjs::Result<Value<'js>>) -> rquickjs::Result<Value<'js>> {
        if self.depth == DEPTH_MAX {
            return Err(self.flaw(&format!("more than {DEPTH_MAX} levels")));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> rquickjs::Result<Value<'js>> {
        let object = Object::new(self.ctx.clone())?;
        self.skip_space();
        if self.skip(b'}') {
            return Ok(object.into_value());
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            self.skip_space();
            if !self.skip(b':') {
                return Err(self.flaw("a member without a value"));
            }
            let value = self.value()?;
            // Defined, not set: a member may have the name of a setter, such as `__proto__`.
            object.prop(name, Property::from(value).configurable().enumerable().writable())?;
            self.skip_space();
            if self.skip(b'}') {
                return Ok(object.into_value());
            }
            if !self.skip(b',') {
                return Err(self.flaw("an object without an end"));
            }
        }
    }

    fn list(&mut self) -> rquickjs::Result<Value<'js>> {
        let list = Array::new(self.ctx.clone())?;
        self.skip_space();
        if self.skip(b']') {
            return Ok(list.into_value());
        }
        for index in 0.. {
            let value = self.value()?;
            list.set(index, value)?;
            self.skip_space();
            if self.skip(b']') {
                break;
            }
            if !self.skip(b',') {
                return Err(self.flaw("a list without an end"));
            }
        }
        Ok(list.into_value())
    }

    fn string(&mut self) -> rquickjs::Result<Value<'js>> {
        let from = self.at;
        if !self.skip(b'"') {
            return Err(self.flaw("a name without quotes"));
        }
        let mut is_escaped = false;
        loop {
            match self.peek() {
                b'"' => break,
                b'\\' => {
                    is_escaped = true;
                    self.at += 2;
                }
                _ if self.at >= self.text.len() => return Err(self.flaw("a text without an end")),
                _ => self.at += 1,
            }
        }
        self.at += 1;
        if is_escaped {
            // The engine reads escapes, those of halves of characters too.
            return self.ctx.json_parse(self.text[from..self.at].to_vec());
        }
        let text = String::from_utf8_lossy(&self.text[from + 1..self.at - 1]);
        text.into_owned().into_js(&self.ctx)
    }

    fn number(&mut self) -> rquickjs::Result<Value<'js>> {
        let from = self.at;
        while matches!(self.peek(), b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') {
            self.at += 1;
        }
        let text = std::str::from_utf8(&self.text[from..self.at]).unwrap_or_default();
        if text.is_empty() {
            return Err(self.flaw("a value that is no JSON"));
        }
        match binary(text) {
            Some(number) => Ok(Value::new_number(self.ctx.clone(), number)),
            None => self.make_decimal.call((text,)),
        }
    }

    fn word(&mut self, word: &str, value: Value<'js>) -> rquickjs::Result<Value<'js>> {
        match self.text[self.at..].starts_with(word.as_bytes()) {
            true => {
                self.at += word.len();
                Ok(value)
            }
            false => Err(self.flaw("a value that is no JSON")),
        }
    }

    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn skip(&mut self, byte: u8) -> bool {
        let is_here = self.peek() == byte;
        self.at += usize::from(is_here);
        is_here
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn flaw(&self, what: &str) -> rquickjs::Error {
        rquickjs::Exception::throw_syntax(&self.ctx, &format!("JSON with {what}, at byte {}", self.at))
    }
}
