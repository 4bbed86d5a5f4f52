//! `flowmeter`: settings, wiring, subcommands. The only crate that uses all others, and the only
//! one that reads the clock.

mod apply;
mod args;
mod backup;
mod bench;
mod check;
mod client;
mod clock;
mod debug;
mod demo;
mod explain;
mod failure;
mod form;
mod input;
mod journal;
mod load;
mod memory;
mod periods;
mod run;
mod serve;
mod sources;
mod summary;
mod test_clock;
mod traces;
mod verify;
mod watch;

use std::process::ExitCode;

use args::{Arguments, Command};
use clap::{CommandFactory, Parser};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Command::Run(_) | Command::Test(_)) {
        memory::keep_freed();
    }
    let done = match arguments.command {
        Command::Run(run) => run::run(&run),
        Command::Test(test) => debug::test(&test),
        Command::Check(check) => check::check(&check),
        Command::Infer { files } => failure::print(&match flowmeter_connectors::file::infer(&files) {
            Ok(document) => document,
            Err(why) => return failure::report(&why.into()),
        }),
        Command::Serve(serve) => serve::serve(&serve),
        Command::Sources(command) => sources::sources(&command),
        Command::Demo(demo) => demo::demo(&demo),
        Command::Apply(apply) => apply::apply(&apply),
        Command::Diff(diff) => apply::diff(&diff),
        Command::Export(exported) => client::export::export(&exported),
        Command::Client(commands) => client::client(commands),
        Command::Bench(args::Bench::Ingest(ingest)) => bench::ingest(&ingest),
        Command::Explain(explain) => explain::explain(&explain),
        Command::Verify(verify) => verify::verify(&verify),
        Command::Backup(backup) => backup::backup(&backup),
        Command::Restore(restore) => backup::restore(&restore),
        Command::Periods(periods) => periods::periods(&periods),
        Command::Schema => failure::print(&format!("{:#}\n", flowmeter_document::json_schema())),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "flowmeter", &mut text);
            failure::print(&String::from_utf8_lossy(&text))
        }
        Command::Man { all: Some(folder), .. } => all_pages(&folder),
        Command::Man { command, all: None } => man(&command),
    };
    match done {
        Ok(code) => code,
        Err(why) => failure::report(&why),
    }
}

/// Writes the manual pages of all commands to a folder.
fn all_pages(folder: &std::path::Path) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Arguments::command(), folder)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page of a command, or that of `flowmeter` itself.
fn man(path: &[String]) -> anyhow::Result<ExitCode> {
    let mut root = Arguments::command();
    root.build();
    let mut command = &root;
    for name in path {
        let Some(found) = command.find_subcommand(name) else {
            let known = command.get_subcommands().map(clap::Command::get_name);
            let known: Vec<&str> = known.filter(|name| *name != "help").collect();
            return Err(failure::Wrong(format!("there is no command `{name}`; there are: {}", known.join(", "))).into());
        };
        command = found;
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    failure::print(&String::from_utf8_lossy(&text))
}
