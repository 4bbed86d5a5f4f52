//! Sandboxes: engines with a frozen world, one for each thread and script.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rquickjs::context::{EvalOptions, intrinsic};
use rquickjs::{CatchResultExt, CaughtError, Context, Ctx, Function, Object, Persistent, Runtime, Value};

use crate::host::{Decimals, Shared, Work, decimals, exhausted, functions, has_made_decimals, note_again, note_written, noted};
use crate::memory::{Account, Accounted};
use crate::projected::{Placed, Projection};
use crate::read::Reader;
use crate::steps::{COUNTER, CodeError, EXHAUSTED};
use crate::survey::{Written, survey};
use crate::write::{Writer, by_engine};
use crate::{Call, Event, Failure, Given, Outcome, Program, Returned};

const PRELUDE: &str = include_str!("prelude.js");
/// Sandboxes that a thread keeps. Each takes about a megabyte.
const SANDBOXES_MAX: usize = 16;
/// Real time after which a run is stopped: a built-in function is one step, and may be slow.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// The stack that the host needs beside a script's.
const HOST_STACK: usize = 256 << 10;

type Intrinsics = (
    intrinsic::Date,
    intrinsic::Eval,
    intrinsic::RegExpCompiler,
    intrinsic::RegExp,
    intrinsic::Json,
    intrinsic::Proxy,
    intrinsic::MapSet,
    intrinsic::TypedArrays,
    intrinsic::Promise,
);

thread_local! {
    /// The sandboxes of this thread, those used last in front.
    static SANDBOXES: RefCell<VecDeque<(u128, Rc<Sandbox>)>> = const { RefCell::new(VecDeque::new()) };
}

/// Checks that a script compiles and defines `step`.
pub(crate) fn check(program: &Program) -> Result<(), CodeError> {
    with_stack(program, || Sandbox::new(program).map(drop))
}

/// Runs a script for an event.
pub(crate) fn run(program: &Program, call: &Call<'_>) -> Result<Outcome, Failure> {
    with_stack(program, || {
        let (result, lacked_memory) = run_once(program, call);
        match lacked_memory {
            // Earlier events may have left garbage and tables that grew: this event gets all of the
            // memory, in a sandbox of its own.
            true => run_once(program, call).0,
            false => result,
        }
    })
}

/// Runs a script once. Returns the result and whether memory was refused.
fn run_once(program: &Program, call: &Call<'_>) -> (Result<Outcome, Failure>, bool) {
    let sandbox = match sandbox_of(program) {
        Ok(sandbox) => sandbox,
        Err(error) => return (Err(Failure::Error(error.detail)), false),
    };
    let result = sandbox.run(program, call);
    let lacked_memory = sandbox.memory.has_refused();
    if lacked_memory || result == Err(Failure::Stalled) || sandbox.runtime.is_job_pending() {
        SANDBOXES.with(|sandboxes| sandboxes.borrow_mut().retain(|(id, _)| *id != program.id));
    }
    (result, lacked_memory)
}

fn with_stack<R>(program: &Program, act: impl FnOnce() -> R) -> R {
    let stack = program.limits.stack + HOST_STACK;
    stacker::maybe_grow(stack, stack + HOST_STACK, act)
}

fn sandbox_of(program: &Program) -> Result<Rc<Sandbox>, CodeError> {
    SANDBOXES.with(|sandboxes| {
        let known = sandboxes.borrow().iter().position(|(id, _)| *id == program.id);
        let mut sandboxes = match known {
            Some(0) => return Ok(Rc::clone(&sandboxes.borrow()[0].1)),
            _ => sandboxes.borrow_mut(),
        };
        let found = known.and_then(|place| sandboxes.remove(place));
        let sandbox = match found {
            Some((_, sandbox)) => sandbox,
            None => Rc::new(Sandbox::new(program)?),
        };
        sandboxes.truncate(SANDBOXES_MAX - 1);
        sandboxes.push_front((program.id, Rc::clone(&sandbox)));
        Ok(sandbox)
    })
}

/// An engine with the world of a script. The order of its fields is the order in which they are
/// dropped: values before the engine that owns them.
struct Sandbox {
    functions: Functions,
    context: Context,
    runtime: Runtime,
    began: Rc<Cell<Option<Instant>>>,
    stalled: Rc<Cell<bool>>,
    memory: Rc<Account>,
}

/// The functions that the host calls.
struct Functions {
    /// Runs the top level of the script and returns `step`: steps.
    load: Persistent<Function<'static>>,
    /// Runs the script for an event: steps, instant, key, event.
    run: Persistent<Function<'static>>,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.context.with(|ctx| {
            if let Some(shared) = ctx.userdata::<Shared>() {
                shared.decimals.borrow_mut().take();
            }
        });
    }
}

impl Sandbox {
    #[allow(clippy::disallowed_methods)] // the guard against stalls is the one that measures real time
    fn new(program: &Program) -> Result<Sandbox, CodeError> {
        let broken = |error: rquickjs::Error| CodeError { line: 0, detail: error.to_string() };
        let memory = Rc::new(Account::default());
        let runtime = Runtime::new_with_alloc(Accounted::new(Rc::clone(&memory))).map_err(broken)?;
        runtime.set_max_stack_size(program.limits.stack);
        let (began, stalled) = (Rc::new(Cell::new(None::<Instant>)), Rc::new(Cell::new(false)));
        let (since, noted) = (Rc::clone(&began), Rc::clone(&stalled));
        runtime.set_interrupt_handler(Some(Box::new(move || {
            let has_stalled = since.get().is_some_and(|since| since.elapsed() > STALLED_AFTER);
            noted.set(noted.get() || has_stalled);
            has_stalled
        })));
        let context = Context::custom::<Intrinsics>(&runtime).map_err(broken)?;
        let functions = context.with(|ctx| build(&ctx, program))?;
        let sandbox = Sandbox { functions, context, runtime, began, stalled, memory };
        // The world itself is not counted against the script.
        sandbox.runtime.run_gc();
        sandbox.memory.bound(program.limits.memory);
        sandbox.context.with(|ctx| sandbox.check(&ctx, program))?;
        Ok(sandbox)
    }

    /// Runs the top level once: `step` must be there.
    fn check(&self, ctx: &Ctx<'_>, program: &Program) -> Result<(), CodeError> {
        self.start(ctx, Work::default());
        let load = self.functions.load.clone().restore(ctx);
        let step = load.and_then(|load| load.call::<_, Value<'_>>((steps(program),))).catch(ctx);
        self.began.set(None);
        match step {
            Ok(step) if step.is_function() => Ok(()),
            Ok(_) => Err(CodeError { line: 0, detail: "the code defines no function `step(event, context)`".to_owned() }),
            Err(error) => Err(code_error(&error)),
        }
    }

    #[allow(clippy::disallowed_methods)] // as above
    fn start(&self, ctx: &Ctx<'_>, work: Work) {
        if let Some(shared) = ctx.userdata::<Shared>() {
            *shared.work.borrow_mut() = work;
        }
        self.stalled.set(false);
        self.memory.begin();
        self.began.set(Some(Instant::now()));
    }

    fn run(&self, program: &Program, call: &Call<'_>) -> Result<Outcome, Failure> {
        self.context.with(|ctx| {
            self.start(&ctx, Work { state: call.state.clone(), ..Work::default() });
            let result = self.step(&ctx, program, call).catch(&ctx);
            let work = ctx.userdata::<Shared>().map(|shared| shared.work.take()).unwrap_or_default();
            let judged = self.judge(program, work, result);
            self.began.set(None);
            judged
        })
    }

    fn step<'js>(&self, ctx: &Ctx<'js>, program: &Program, call: &Call<'_>) -> rquickjs::Result<Result<Returned, Failure>> {
        match (call.event, &program.projection) {
            (Event::Fields(given), Some(projection)) => {
                let (event, placed) = projection.make(ctx, given)?;
                let returned = self.call(ctx, program, call, event.clone().into_value())?;
                match returned == *event.as_value() {
                    true => Ok(Ok(Returned::Changed(changes(ctx, projection, given, &placed)?))),
                    false => take(ctx, program, &returned, projection.written(given)),
                }
            }
            (Event::Fields(_), None) => Ok(Err(Failure::Error("the code sees the whole event".to_owned()))),
            (Event::Whole(text), _) => {
                let survey = survey(text);
                let event = match survey.has_decimals {
                    true => Reader::new(ctx.clone(), text, decimals(ctx)?.make.restore(ctx)?).read()?,
                    false => ctx.json_parse(text)?,
                };
                take(ctx, program, &self.call(ctx, program, call, event)?, survey.written)
            }
        }
    }

    /// Calls the script with the event as it sees it.
    fn call<'js>(&self, ctx: &Ctx<'js>, program: &Program, call: &Call<'_>, event: Value<'js>) -> rquickjs::Result<Value<'js>> {
        let run = self.functions.run.clone().restore(ctx)?;
        let key = std::str::from_utf8(call.key).unwrap_or("[]");
        // An instant in milliseconds and the limit of steps are exact in a binary64.
        run.call((steps(program), call.received_at as f64, key, event))
    }

    /// Decides between a result and the limits that were met on the way to it.
    fn judge(
        &self,
        program: &Program,
        work: Work,
        result: Result<Result<Returned, Failure>, CaughtError<'_>>,
    ) -> Result<Outcome, Failure> {
        if self.stalled.get() {
            return Err(Failure::Stalled);
        }
        // Memory that was refused counts even if the script caught the exception.
        if self.memory.has_refused() || work.is_too_long {
            return Err(Failure::Limit(format!("the script took more than {} bytes of memory", program.limits.memory)));
        }
        if work.is_exhausted {
            return Err(Failure::Limit(format!("the script took more than {} steps", program.limits.steps)));
        }
        if work.is_state_full {
            return Err(Failure::StateFull(format!("the state of the key has more than {} bytes", program.limits.state_bytes)));
        }
        if let Some(text) = work.failed {
            return Err(Failure::Error(text));
        }
        let returned = match result {
            Ok(returned) => returned?,
            Err(error) => return Err(Sandbox::failure(program, &error)),
        };
        let state = work.is_state_changed.then_some(work.state);
        Ok(Outcome { returned, state, counts: work.counts })
    }

    fn failure(program: &Program, error: &CaughtError<'_>) -> Failure {
        let shown = describe(error);
        if shown.is_of_engine && shown.text.contains("all stack size exceeded") {
            return Failure::Limit(format!("the script took more than {} bytes of stack", program.limits.stack));
        }
        Failure::Error(match shown.line {
            0 => shown.text,
            line => format!("{} (line {line})", shown.text),
        })
    }
}

/// Takes what a script returned.
fn take<'js>(
    ctx: &Ctx<'js>,
    program: &Program,
    returned: &Value<'js>,
    written: Written,
) -> rquickjs::Result<Result<Returned, Failure>> {
    if returned.is_null() {
        return Ok(Ok(Returned::Nothing));
    }
    if written.is_empty() && !has_made_decimals(ctx) && is_object(returned) {
        let before = noted(ctx);
        // A getter may have made a decimal only now.
        if let Some(event) = by_engine(ctx, returned)?.filter(|_| !has_made_decimals(ctx)) {
            note_written(ctx, event.len())?;
            return Ok(Ok(Returned::Event(event)));
        }
        // Getters of the object make their notes again below.
        note_again(ctx, before);
    }
    let mut writer = decimals(ctx)?.writer(ctx, written)?;
    if let Some(list) = returned.as_array() {
        let (found, most) = (length_of(list.as_object())?, program.limits.children_max);
        if found > most as f64 {
            return Ok(Err(Failure::TooMany(format!("`step` returned {found} events; `childrenMax` is {most}"))));
        }
        let mut children = Vec::new();
        for at in 0..found as usize {
            match object(&mut writer, &list.get(at)?)? {
                Some(child) => children.push(child),
                None => return Ok(Err(Failure::Error("an element of the list is no object".to_owned()))),
            }
        }
        return Ok(Ok(Returned::Children(children)));
    }
    match object(&mut writer, returned)? {
        Some(event) => Ok(Ok(Returned::Event(event))),
        None if returned.is_undefined() => {
            Ok(Err(Failure::Error("`step` returned nothing; return the event, a list of events, or null".to_owned())))
        }
        None => {
            let kind = if returned.is_number() { "number" } else { returned.type_name() };
            Ok(Err(Failure::Error(format!("`step` returned a {kind}; return the event, a list of events, or null"))))
        }
    }
}

/// The fields whose values a script changed, with the new values as JSON.
fn changes<'js>(
    ctx: &Ctx<'js>,
    projection: &Projection,
    given: &[Given<'_>],
    placed: &[Placed<'js>],
) -> rquickjs::Result<Vec<(usize, Option<Vec<u8>>)>> {
    let mut changes = Vec::new();
    // Numbers inside a list or an object are written as they came where the script left them.
    let has_inner = given.iter().any(|given| matches!(given, Given::Json(_)));
    let written = if has_inner { projection.written(given) } else { Written::new() };
    let mut writer = decimals(ctx)?.writer(ctx, written)?;
    for (field, (names, placed)) in projection.fields.iter().zip(placed).enumerate() {
        let name = names.last().map_or("", String::as_str);
        let Some(value) = placed.changed(name, given[field])? else { continue };
        let mut json = Vec::new();
        writer.begin_at(names);
        let has_value = writer.write(&value, names.len(), &mut json)?;
        changes.push((field, has_value.then_some(json)));
    }
    Ok(changes)
}

/// Whether a value is an object and neither a list nor a function.
fn is_object(value: &Value<'_>) -> bool {
    value.is_object() && !value.is_array() && !value.is_function()
}

/// Writes a value that must be an object, and neither a list nor a decimal.
fn object<'js>(writer: &mut Writer<'js>, value: &Value<'js>) -> rquickjs::Result<Option<Vec<u8>>> {
    if !is_object(value) {
        return Ok(None);
    }
    let mut json = Vec::with_capacity(512);
    let is_written = writer.write(value, 0, &mut json)?;
    Ok((is_written && json.first() == Some(&b'{')).then_some(json))
}

/// The length of a list, which may be far more than there are elements.
fn length_of(list: &Object<'_>) -> rquickjs::Result<f64> {
    list.get("length")
}

/// The limit of steps as a JavaScript number.
fn steps(program: &Program) -> f64 {
    program.limits.steps as f64
}

/// Builds the world of a script and compiles its code.
fn build(ctx: &Ctx<'_>, program: &Program) -> Result<Functions, CodeError> {
    let shared = Shared {
        work: RefCell::default(),
        arithmetic: program.arithmetic,
        state_bytes: program.limits.state_bytes,
        json_bytes: program.limits.memory,
        operator: program.operator.clone(),
        decimals: RefCell::default(),
    };
    ctx.store_userdata(shared).ok();
    let world = (|| {
        let prelude: Function<'_> = ctx.eval(PRELUDE)?;
        let world: Object<'_> = prelude.call((functions(ctx)?,))?;
        let made = Decimals {
            make: world.get("make")?,
            prototype: world.get("prototype")?,
            plain: world.get("plain")?,
            text_of: world.get("textOf")?,
            unboxed: world.get("unboxed")?,
        };
        if let Some(shared) = ctx.userdata::<Shared>() {
            *shared.decimals.borrow_mut() = Some(made);
        }
        let out_of_steps = Function::new(ctx.clone(), exhausted)?;
        Ok::<_, rquickjs::Error>((world, out_of_steps))
    })();
    let (world, out_of_steps) = world.catch(ctx).map_err(|error| code_error(&error))?;
    let compiled = (|| {
        let mut options = EvalOptions::default();
        options.strict = true;
        options.filename = Some("script".to_owned());
        // Everything before the author's code is on its first line: line numbers are kept.
        let source = format!(
            "(function({EXHAUSTED},begin,context){{let {COUNTER}=0;const load=function(){{{}\n\
             ;return typeof step==='function'?step:undefined}};return[\
             function(n){{{COUNTER}=n;return load()}},\
             function(n,at,key,event){{begin(at,key);{COUNTER}=n;return load()(event,context)}}]}})",
            program.counted
        );
        let wrapped: Function<'_> = ctx.eval_with_options(source, options)?;
        let (begin, context): (Function<'_>, Object<'_>) = (world.get("begin")?, world.get("context")?);
        let parts: Vec<Function<'_>> = wrapped.call((out_of_steps, begin, context))?;
        let mut parts = parts.into_iter();
        let (Some(load), Some(run)) = (parts.next(), parts.next()) else { return Err(rquickjs::Error::Unknown) };
        Ok(Functions { load: Persistent::save(ctx, load), run: Persistent::save(ctx, run) })
    })();
    compiled.catch(ctx).map_err(|error| code_error(&error))
}

/// An exception, for the author of the script.
struct Shown {
    text: String,
    line: usize,
    /// Whether the engine threw it, not the script.
    is_of_engine: bool,
}

fn describe(error: &CaughtError<'_>) -> Shown {
    match error {
        CaughtError::Error(error) => Shown { text: error.to_string(), line: 0, is_of_engine: true },
        CaughtError::Exception(exception) => {
            let name: Option<String> = exception.as_object().get("name").ok();
            let message = exception.message().unwrap_or_default();
            let name = name.filter(|name| name != "Error" && !name.is_empty());
            let is_of_engine = matches!(name.as_deref(), Some("InternalError" | "RangeError"));
            let text = name.map_or_else(|| message.clone(), |name| format!("{name}: {message}"));
            Shown { text, line: line_of(&exception.stack().unwrap_or_default()), is_of_engine }
        }
        CaughtError::Value(value) => {
            let text = value.as_string().and_then(|text| text.to_string().ok());
            Shown {
                text: text.unwrap_or_else(|| format!("the script threw a {}", value.type_name())),
                line: 0,
                is_of_engine: false,
            }
        }
    }
}

/// The first line of the script in a stack such as `at step (script:3:7)`.
fn line_of(stack: &str) -> usize {
    let place = stack.split("(script:").nth(1).unwrap_or_default();
    place.split(|c: char| !c.is_ascii_digit()).next().and_then(|line| line.parse().ok()).unwrap_or(0)
}

fn code_error(error: &CaughtError<'_>) -> CodeError {
    let Shown { text, line, .. } = describe(error);
    CodeError { line, detail: text }
}
