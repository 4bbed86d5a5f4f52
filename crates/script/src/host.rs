//! The functions of the host that a script's world is built of.

#![allow(clippy::needless_pass_by_value)] // the engine hands over values

use std::cell::RefCell;

use rquickjs::{Ctx, Exception, Function, JsLifetime, Object, Persistent, Result, Value};

use crate::numbers::{Arithmetic, Operation, shortest};
use crate::read::Reader;
use crate::state_len;
use crate::survey::Written;
use crate::write::{Writer, quoted};

/// Counters that a script may add to for one event.
const COUNTERS_MAX: usize = 100;

/// The event in work, as the functions of the host see it.
#[derive(Clone, Default)]
pub(crate) struct Work {
    pub(crate) state: crate::State,
    pub(crate) is_state_changed: bool,
    pub(crate) counts: Vec<(String, i64)>,
    /// The text that the script failed with.
    pub(crate) failed: Option<String>,
    /// Whether no steps were left.
    pub(crate) is_exhausted: bool,
    /// Whether the state of the key became too large.
    pub(crate) is_state_full: bool,
    /// Whether the JSON of results became longer than the memory of the script.
    pub(crate) is_too_long: bool,
    /// Bytes of JSON that were written.
    pub(crate) written: usize,
    /// Whether the event or the script made a decimal.
    pub(crate) has_decimals: bool,
}

/// Data of a sandbox that its functions reach.
pub(crate) struct Shared {
    pub(crate) work: RefCell<Work>,
    pub(crate) arithmetic: Arithmetic,
    pub(crate) state_bytes: usize,
    /// Bytes of JSON that a run may write.
    pub(crate) json_bytes: usize,
    pub(crate) operator: String,
    pub(crate) decimals: RefCell<Option<Decimals>>,
}

// SAFETY: nothing in it borrows from the engine; `Persistent` holds values without a lifetime.
unsafe impl<'js> JsLifetime<'js> for Shared {
    type Changed<'to> = Shared;
}

/// The class of exact decimals, as the prelude made it.
#[derive(Clone)]
pub(crate) struct Decimals {
    pub(crate) make: Persistent<Function<'static>>,
    pub(crate) prototype: Persistent<Object<'static>>,
    /// The prototype of plain objects.
    pub(crate) plain: Persistent<Object<'static>>,
    pub(crate) text_of: Persistent<Function<'static>>,
    /// The primitive value of a boxed one.
    pub(crate) unboxed: Persistent<Function<'static>>,
}

impl Decimals {
    /// Returns a writer of JSON that writes decimals as numbers.
    pub(crate) fn writer<'js>(self, ctx: &Ctx<'js>, written: Written) -> Result<Writer<'js>> {
        let prototypes = (self.prototype.restore(ctx)?, self.plain.restore(ctx)?);
        let functions = (self.text_of.restore(ctx)?, self.unboxed.restore(ctx)?);
        Ok(Writer::new(ctx.clone(), prototypes, functions, written))
    }
}

/// Returns the functions of the host.
pub(crate) fn functions<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("canonical", Function::new(ctx.clone(), canonical)?)?;
    native.set("add", Function::new(ctx.clone(), add)?)?;
    native.set("sub", Function::new(ctx.clone(), sub)?)?;
    native.set("mul", Function::new(ctx.clone(), mul)?)?;
    native.set("div", Function::new(ctx.clone(), div)?)?;
    native.set("cmp", Function::new(ctx.clone(), cmp)?)?;
    native.set("numberText", Function::new(ctx.clone(), shortest)?)?;
    native.set("read", Function::new(ctx.clone(), read)?)?;
    native.set("write", Function::new(ctx.clone(), write)?)?;
    native.set("stateGet", Function::new(ctx.clone(), state_get)?)?;
    native.set("stateSet", Function::new(ctx.clone(), state_set)?)?;
    native.set("stateRemove", Function::new(ctx.clone(), state_remove)?)?;
    native.set("stateAll", Function::new(ctx.clone(), state_all)?)?;
    native.set("count", Function::new(ctx.clone(), count)?)?;
    native.set("fail", Function::new(ctx.clone(), fail)?)?;
    native.set("madeDecimal", Function::new(ctx.clone(), made_decimal)?)?;
    native.set("operator", Function::new(ctx.clone(), operator)?)?;
    Ok(native)
}

/// Notes that so many bytes of JSON were written.
///
/// # Errors
/// They are more than a run may write.
pub(crate) fn note_written(ctx: &Ctx<'_>, bytes: usize) -> Result<()> {
    let most = ctx.userdata::<Shared>().map_or(0, |shared| shared.json_bytes);
    let is_too_long = with_work(ctx, |work| {
        work.written += bytes;
        work.is_too_long |= work.written > most;
        work.is_too_long
    });
    match is_too_long {
        true => Err(Exception::throw_range(ctx, "the result is too large")),
        false => Ok(()),
    }
}

/// Called by the code when no steps are left.
pub(crate) fn exhausted(ctx: Ctx<'_>) -> Result<()> {
    with_work(&ctx, |work| work.is_exhausted = true);
    Err(Exception::throw_internal(&ctx, "no steps are left"))
}

fn with_work<R: Default>(ctx: &Ctx<'_>, act: impl FnOnce(&mut Work) -> R) -> R {
    ctx.userdata::<Shared>().map(|shared| act(&mut shared.work.borrow_mut())).unwrap_or_default()
}

fn compute(ctx: &Ctx<'_>, operation: Operation<'_>) -> Result<String> {
    let Some(arithmetic) = ctx.userdata::<Shared>().map(|shared| shared.arithmetic) else { return Ok(String::new()) };
    arithmetic(operation).map_err(|why| Exception::throw_range(ctx, &why))
}

fn canonical(ctx: Ctx<'_>, text: String) -> Result<String> {
    compute(&ctx, Operation::Canonical(&text))
}

fn add(ctx: Ctx<'_>, one: String, other: String) -> Result<String> {
    compute(&ctx, Operation::Add(&one, &other))
}

fn sub(ctx: Ctx<'_>, one: String, other: String) -> Result<String> {
    compute(&ctx, Operation::Subtract(&one, &other))
}

fn mul(ctx: Ctx<'_>, one: String, other: String) -> Result<String> {
    compute(&ctx, Operation::Multiply(&one, &other))
}

fn div(ctx: Ctx<'_>, one: String, other: String, places: f64, rounding: String) -> Result<String> {
    if !(0.0..=18.0).contains(&places) || places.fract() != 0.0 {
        return Err(Exception::throw_range(&ctx, "expected a whole number of places from 0 to 18"));
    }
    compute(&ctx, Operation::Divide(&one, &other, places as u8, &rounding))
}

fn cmp(ctx: Ctx<'_>, one: String, other: String) -> Result<i32> {
    Ok(compute(&ctx, Operation::Compare(&one, &other))?.parse().unwrap_or_default())
}

fn read<'js>(ctx: Ctx<'js>, text: String) -> Result<Value<'js>> {
    let decimals = decimals(&ctx)?;
    Reader::new(ctx.clone(), text.as_bytes(), decimals.make.restore(&ctx)?).read()
}

fn write<'js>(ctx: Ctx<'js>, value: Value<'js>) -> Result<String> {
    let mut json = Vec::new();
    match decimals(&ctx)?.writer(&ctx, Written::default())?.write(&value, 0, &mut json)? {
        true => Ok(String::from_utf8_lossy(&json).into_owned()),
        false => Err(Exception::throw_type(&ctx, "a value of the state must be JSON")),
    }
}

/// The class of decimals; there is one as soon as the prelude has run.
pub(crate) fn decimals(ctx: &Ctx<'_>) -> Result<Decimals> {
    let decimals = ctx.userdata::<Shared>().and_then(|shared| shared.decimals.borrow().clone());
    decimals.ok_or_else(|| Exception::throw_internal(ctx, "the prelude has not run"))
}

fn state_get(ctx: Ctx<'_>, name: String) -> Option<String> {
    with_work(&ctx, |work| work.state.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()))
}

fn state_set(ctx: Ctx<'_>, name: String, value: String) -> Result<()> {
    let most = ctx.userdata::<Shared>().map_or(0, |shared| shared.state_bytes);
    let is_full = with_work(&ctx, |work| {
        work.is_state_changed = true;
        match work.state.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => work.state.push((name, value)),
        }
        work.is_state_full |= state_len(&work.state) > most;
        work.is_state_full
    });
    match is_full {
        true => Err(Exception::throw_range(&ctx, "the state of the key is full")),
        false => Ok(()),
    }
}

fn state_remove(ctx: Ctx<'_>, name: String) {
    with_work(&ctx, |work| {
        let before = work.state.len();
        work.state.retain(|(known, _)| *known != name);
        work.is_state_changed |= work.state.len() < before;
    });
}

fn state_all(ctx: Ctx<'_>) -> String {
    let members =
        with_work(&ctx, |work| work.state.iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect::<Vec<_>>());
    format!("{{{}}}", members.join(","))
}

fn count(ctx: Ctx<'_>, name: String, n: f64) -> Result<()> {
    if n.fract() != 0.0 || n.abs() > 9_007_199_254_740_991.0 {
        return Err(Exception::throw_range(&ctx, "`count` takes a whole number"));
    }
    if name.is_empty() || name.len() > 80 {
        return Err(Exception::throw_range(&ctx, "the name of a counter has 1 to 80 bytes"));
    }
    let is_new = with_work(&ctx, |work| work.counts.len() >= COUNTERS_MAX && work.counts.iter().all(|(known, _)| *known != name));
    if is_new {
        return Err(Exception::throw_range(&ctx, "a script counts under at most 100 names for one event"));
    }
    with_work(&ctx, |work| match work.counts.iter_mut().find(|(known, _)| *known == name) {
        Some((_, counted)) => *counted = counted.saturating_add(n as i64),
        None => work.counts.push((name, n as i64)),
    });
    Ok(())
}

/// Whether a decimal was made in this run.
pub(crate) fn has_made_decimals(ctx: &Ctx<'_>) -> bool {
    with_work(ctx, |work| work.has_decimals)
}

/// Returns the notes of a run so far. Getters of a result may note more while it is written.
pub(crate) fn noted(ctx: &Ctx<'_>) -> Work {
    with_work(ctx, |work| work.clone())
}

/// Takes back what was noted since.
pub(crate) fn note_again(ctx: &Ctx<'_>, before: Work) {
    with_work(ctx, |work| *work = Work { is_exhausted: work.is_exhausted, ..before });
}

fn made_decimal(ctx: Ctx<'_>) {
    with_work(&ctx, |work| work.has_decimals = true);
}

fn operator(ctx: Ctx<'_>) -> String {
    ctx.userdata::<Shared>().map(|shared| shared.operator.clone()).unwrap_or_default()
}

fn fail(ctx: Ctx<'_>, text: String) {
    with_work(&ctx, |work| {
        work.failed.get_or_insert(text);
    });
}
